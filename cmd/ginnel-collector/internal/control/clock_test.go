package control

import (
	"crypto/ecdsa"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/checks"
)

// Whoever's clock is wrong, and however long a certificate has expired: the
// gateway is heard again without anybody's doing, without a storm of
// certificates, and once more when the clock is right.
func TestClocksLockNobodyOut(t *testing.T) {
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	for _, tt := range []struct {
		name      string
		ca        time.Duration // when the CA was made, from now by the gateway's clock
		given     time.Duration // when the gateway's certificate was given
		collector time.Duration // how far its clock is from the gateway's
	}{
		{"certificate expired for a year", -3 * year, -90*day - year, 0},
		{"the gateway's clock is two years ahead", -3 * year, -2*year - 10*day, -2 * year},
		{"the gateway's clock is two years behind", -3 * year, 2*year - 10*day, 2 * year},
		{"the gateway's clock is two years behind, and its certificate expired for a year", -3 * year, year - 90*day, 2 * year},
		{"the gateway's clock is two years ahead, and its certificate expired for a year", -5 * year, -3*year - 90*day, -2 * year},
		{"the collector's clock is two years ahead", -year, -10 * day, 2 * year},
		{"the collector's clock is two years behind", -year, -10 * day, -2 * year},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			id := r.agedGateway(tt.ca, tt.given)
			r.restartAt(tt.collector)
			g := r.run(id, nil)
			eventually(t, "the gateway is heard", func() bool { return r.agent("avocet-1").Health != nil })
			time.Sleep(3 * time.Second) // three heartbeats
			if n := len(r.events("renew")); n > 1 {
				t.Errorf("renewed %d times", n)
			}
			if _, err := postBlocks(r, id); err != nil {
				t.Errorf("blocks: %v", err)
			}
			if !strings.HasPrefix(tt.name, "the collector") {
				return
			}
			r.restartAt(0)
			g.state.Store(checks.Down)
			g.Wake()
			eventually(t, "the gateway is heard by the right clock", func() bool { return r.agent("avocet-1").Health != nil })
			eventually(t, "and kept", func() bool { return r.saved("avocet-1") == checks.Down })
		})
	}
}

// agedGateway is enrolled at a collector whose CA is as old as ca says, with a
// certificate given at that time.
func (r *rig) agedGateway(ca, given time.Duration) *identity.Identity {
	r.t.Helper()
	r.stop()
	r.dir += "-aged"
	r.clock(ca)
	r.start()
	r.restartAt(0)
	id := r.enrolled("avocet")
	r.clock(given)
	text, _, err := r.server.ca.device("avocet-1", id.UID().String(), id.Certificate().PublicKey.(*ecdsa.PublicKey))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := id.SaveCertificate(text); err != nil {
		r.t.Fatal(err)
	}
	id, err = identity.Open(id.Dir())
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// restartAt starts the collector anew with its clock so far ahead.
func (r *rig) restartAt(ahead time.Duration) {
	r.t.Helper()
	r.stop()
	r.clock(ahead)
	r.start()
}
