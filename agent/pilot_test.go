package agent

import (
	"encoding/hex"
	"log/slog"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/uplink"
)

// A collector may offer the same config with every answer, from the first after
// a restart on.
func TestSameOfferAgainIsNotLookedAt(t *testing.T) {
	for _, c := range []struct {
		phase  trial.Phase
		reason string
		tries  int
		looked bool
		want   uplink.OfferState
	}{
		{trial.Kept, "", 1, false, uplink.Applied},
		{trial.Failed, "kestrel/hub-north was good and is dead", 1, false, uplink.Failed},
		{trial.Failed, trial.Inconclusive + "kestrel/hub-north is dead under the old config too", 2, true, uplink.Failed},
		{trial.Failed, trial.Inconclusive + "nobody knows what it had come to", 3, false, uplink.Failed},
		{trial.Overridden, "a technician went back by hand", 1, false, uplink.Failed},
		{"", "", 0, true, uplink.Unset},
	} {
		a := &Agent{o: Options{Paths: DefaultPaths(t.TempDir()), Log: slog.New(slog.DiscardHandler)}}
		hash := []byte("a hash")
		if c.phase != "" {
			r := trial.Record{Phase: c.phase, Hash: hex.EncodeToString(hash), Generation: 2, Began: time.Now(), Reason: c.reason, Tries: c.tries}
			if err := a.o.Paths.Journal().Write(r); err != nil {
				t.Fatal(err)
			}
		}
		p := newPilot(a)
		if s := p.Status(); s.State != c.want || c.phase != "" && string(s.Hash) != string(hash) {
			t.Errorf("%s, %q: status %+v, want %v", c.phase, c.reason, s, c.want)
		}
		p.Offer(t.Context(), hash, []byte("bundle"))
		if looked := p.offer != nil; looked != c.looked {
			t.Errorf("%s, %q: offered again, it is looked at: %v, want %v", c.phase, c.reason, looked, c.looked)
		}
		p.offer = nil
		p.Offer(t.Context(), []byte("another"), []byte("bundle"))
		if p.offer == nil {
			t.Errorf("%s: another one is not looked at", c.phase)
		}
	}
}

// A refusal is of the config that was looked at, not of one that came meanwhile.
func TestRefusalIsOfWhatWasLookedAt(t *testing.T) {
	p := newPilot(&Agent{o: Options{Paths: DefaultPaths(t.TempDir()), Log: slog.New(slog.DiscardHandler)}})
	p.Offer(t.Context(), []byte("bad"), []byte("bundle"))
	bad := p.waiting()
	p.Offer(t.Context(), []byte("good"), []byte("bundle"))
	p.refuse(t.Context(), bad.hash, bundle.ErrUnsigned)
	if s := p.Status(); string(s.Hash) != "bad" || s.State != uplink.Failed {
		t.Errorf("status: %q, %v", s.Hash, s.State)
	}
	if next := p.waiting(); next == nil || p.waiting() != nil {
		t.Error("the one that came meanwhile does not wait, or waits twice")
	}
}
