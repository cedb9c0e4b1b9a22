package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// saved is the state that the store has of a gateway; empty: none.
func (r *rig) saved(gateway string) checks.State {
	r.t.Helper()
	s, _, err := r.store.Snapshot(r.t.Context(), gateway)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		r.t.Fatal(err)
	}
	if err == nil && s.Gateway != gateway {
		r.t.Errorf("the snapshot of %s says it is of %q", gateway, s.Gateway)
	}
	return s.State
}

func (r *rig) agent(gateway string) Agent {
	for _, a := range r.server.Agents() {
		if a.Gateway == gateway {
			return a
		}
	}
	return Agent{}
}

func TestStatusArrives(t *testing.T) {
	r := newRig(t)
	g := r.run(r.enrolled("avocet"), nil)
	eventually(t, "the first snapshot is stored", func() bool { return r.saved("avocet-1") == checks.Up })

	g.state.Store(checks.Down)
	g.Wake()
	eventually(t, "the change is stored", func() bool { return r.saved("avocet-1") == checks.Down })
	want := &Component{Status: "down", Error: "hub-south does not answer", Since: time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC), Parts: map[string]*Component{
		"tunnel/heron/hub-south": {Status: "down", Error: "no_handshake"},
		"check/results":          {Status: "unknown", Error: "waits for heron"},
	}}
	a := r.agent("avocet-1")
	if d := cmp.Diff(want, a.Health); d != "" {
		t.Errorf("health (-want +got):\n%s", d)
	}
	if a.ConfigHash != "ab12" || a.Config != "gateway = \"avocet-1\"\n" {
		t.Errorf("config %q: %q", a.ConfigHash, a.Config)
	}

	seen := a.Seen
	eventually(t, "heartbeats come by themselves, at the interval that the collector gave", func() bool { return r.agent("avocet-1").Seen.Sub(seen) > time.Second })
	if s := g.Status(); s.URL != "https://"+r.addr || s.LastReceipt.IsZero() || s.Error != "" {
		t.Errorf("the gateway's side says %+v", s)
	}
}

// A collector that starts anew knows nothing; it asks, and is told all.
func TestFullStateAfterRestart(t *testing.T) {
	r := newRig(t)
	g := r.run(r.enrolled("avocet"), nil)
	eventually(t, "it was heard", func() bool { return r.agent("avocet-1").Health != nil })
	old := r.server
	s, err := New(old.o) // takes over between two messages, so the gateway sees no failure
	if err != nil {
		t.Fatal(err)
	}
	old.mu.Lock()
	old.agents = s.agents
	old.mu.Unlock()
	eventually(t, "it has said all again", func() bool {
		old.mu.Lock()
		defer old.mu.Unlock()
		a := old.agents["avocet-1"]
		return a != nil && a.Version == "0.1.0" && a.Health != nil && a.ConfigHash == "ab12"
	})
	if g.Status().Error != "" {
		t.Error("the gateway saw a failure")
	}
}

// A message that was lost on the way leaves a gap, and is asked for again.
func TestGapInTheSequence(t *testing.T) {
	full := &protobufs.AgentDescription{}
	a := &session{}
	for i, tt := range []struct {
		m  *protobufs.AgentToServer
		ok bool
	}{
		{&protobufs.AgentToServer{SequenceNum: 7}, false},
		{&protobufs.AgentToServer{SequenceNum: 8, AgentDescription: full}, true},
		{&protobufs.AgentToServer{SequenceNum: 9}, true},
		{&protobufs.AgentToServer{SequenceNum: 11}, false},
		{&protobufs.AgentToServer{SequenceNum: 12, AgentDescription: full}, true},
		{&protobufs.AgentToServer{SequenceNum: 0, AgentDescription: full}, true}, // started anew
		{&protobufs.AgentToServer{SequenceNum: 1}, true},
	} {
		if got := a.take(tt.m); got != tt.ok {
			t.Errorf("message %d: %v, want %v", i, got, tt.ok)
		}
	}
}

func TestOutageIsSaid(t *testing.T) {
	r := newRig(t)
	g := r.run(r.enrolled("avocet"), nil)
	eventually(t, "it was heard", func() bool { return r.saved("avocet-1") == checks.Up })
	r.stop()
	eventually(t, "the gateway says so", func() bool { return g.Status().Error == r.addr+" cannot be reached: connection refused" })
	g.state.Store(checks.Down)
	r.start()
	eventually(t, "the newest state is there", func() bool { return r.saved("avocet-1") == checks.Down })
	eventually(t, "the gateway has no complaint", func() bool { return g.Status().Error == "" })
}

// An expired certificate opens no session but the one that renews it.
func TestExpiryLocksNobodyOut(t *testing.T) {
	r := newRig(t)
	r.clock(-200 * 24 * time.Hour)
	r.stop()
	r.dir += "-old"
	r.start() // with a CA that is 200 days old
	r.clock(0)
	id := r.enrolled("avocet")

	r.clock(-100 * 24 * time.Hour)
	old, leaf, err := r.server.ca.device("avocet-1", id.UID().String(), id.Certificate().PublicKey.(*ecdsa.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	r.clock(0)
	if err := id.SaveCertificate(old); err != nil || !time.Now().After(leaf.NotAfter) {
		t.Fatalf("certificate until %v: %v", leaf.NotAfter, err)
	}

	if _, err := postBlocks(r, id); err == nil || err.Error() != "403 certificate_expired" {
		t.Errorf("blocks with an expired certificate: %v", err)
	}
	g := r.run(id, nil)
	eventually(t, "it is renewed and heard", func() bool { return r.saved("avocet-1") == checks.Up })
	if until := id.Certificate().NotAfter; time.Until(until) < 80*24*time.Hour {
		t.Errorf("the new certificate is until %v", until)
	}
	if n := len(r.events("renew")); n != 1 {
		t.Errorf("renewed %d times", n)
	}
	if _, err := postBlocks(r, id); err != nil {
		t.Errorf("blocks with the new certificate: %v", err)
	}
	g.stop()
}

// A site that was given a new box is the new box's alone.
func TestReplacedDeviceIsRefused(t *testing.T) {
	r := newRig(t)
	first := r.enrolled("avocet")
	if _, err := postBlocks(r, first); err != nil {
		t.Fatal(err)
	}
	second := r.enrolled("avocet")
	if _, err := postBlocks(r, first); err == nil || err.Error() != "403 certificate_replaced" {
		t.Errorf("the first box: %v", err)
	}
	if _, err := postBlocks(r, second); err != nil {
		t.Errorf("the second box: %v", err)
	}
	g := r.run(first, nil)
	eventually(t, "the first box says why", func() bool {
		return g.Status().Error == "the collector refused (403): avocet-1 was enrolled anew from another device; this one's certificate is void"
	})
}

// What a box was enrolled with does not bring it back: neither the token that it
// spent, once another box has taken its place, nor a new one, once it is revoked.
func TestFormerDeviceDoesNotEnrol(t *testing.T) {
	r := newRig(t)
	old := r.pack("avocet", time.Hour)
	first, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: old, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	again := func(token identity.Token) string {
		t.Helper()
		_, code, err := r.ask(request{head: map[string]string{"Authorization": "Bearer " + token.Reveal()}, body: csrMessage(t, first, first.UID())})
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if code := again(old.Token); code != "" {
		t.Errorf("a lost answer: %s", code)
	}
	second := r.enrolled("avocet")
	if code := again(old.Token); code != "token_used" {
		t.Errorf("a token from before the second box: %q", code)
	}
	if _, err := postBlocks(r, second); err != nil {
		t.Errorf("the second box: %v", err)
	}

	csr, err := first.NewCSR()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(csr)
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKIXPublicKey(asked.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(key)
	list := bundle.DenyList{Number: 1, Denials: []bundle.Denial{{Kind: bundle.Revoke, Gateways: []string{"avocet-1"}, Device: hex.EncodeToString(sum[:]), Why: "stolen"}}}
	if _, err := r.server.SetList(t.Context(), alice, centre.NewList{Bundle: signedText(list.Format(), bundle.List)}); err != nil {
		t.Fatal(err)
	}
	fresh := r.pack("avocet", time.Hour)
	if code := again(fresh.Token); code != "device_revoked" {
		t.Errorf("a revoked box with a new pack: %q", code)
	}
	if _, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: fresh, Dir: t.TempDir()}); err != nil {
		t.Errorf("the pack that it tried is spent: %v", err)
	}
}

// The store fails for a while; the newest snapshot is kept until it is back.
func TestSnapshotsOutliveTheStore(t *testing.T) {
	r := newRig(t)
	sick := &sickStore{Store: r.store, err: errors.New("disk full")}
	var s saver
	s.store, s.log, s.waiting = sick, r.server.o.Log, map[string]arrival{}
	id := r.enrolled("avocet")
	s.save("avocet-1", block.Snapshot{Gateway: "avocet-1", State: checks.Up}, time.Now())
	if err := s.flush(); err == nil {
		t.Fatal("a failing store was not noticed")
	}
	sick.err = nil
	if err := s.flush(); err != nil || r.saved("avocet-1") != checks.Up {
		t.Fatalf("stored %q, %v; it was forgotten", r.saved("avocet-1"), err)
	}
	// What failed does not take the place of what came meanwhile.
	sick.err, sick.meanwhile = errors.New("disk full"), func() {
		s.save("avocet-1", block.Snapshot{Gateway: "avocet-1", State: checks.Down}, time.Now())
	}
	s.save("avocet-1", block.Snapshot{Gateway: "avocet-1", State: checks.DegradedState}, time.Now())
	if err := s.flush(); err == nil {
		t.Fatal("a failing store was not noticed")
	}
	sick.err = nil
	if err := s.close(); err != nil || r.saved("avocet-1") != checks.Down {
		t.Errorf("stored %q, %v for %v", r.saved("avocet-1"), err, id.UID())
	}
}

type sickStore struct {
	Store
	err       error
	meanwhile func() // not nil: called while it fails
}

func (s *sickStore) SaveSnapshots(ctx context.Context, all []store.Heard) error {
	if s.err != nil {
		if s.meanwhile != nil {
			s.meanwhile()
		}
		return s.err
	}
	return s.Store.SaveSnapshots(ctx, all)
}

// Gateways have slots all over the window, each always the same, and are told.
func TestSlots(t *testing.T) {
	s := &Server{o: Options{Heartbeat: 30 * time.Second}}
	var parts [10]int
	for i := range 1000 {
		at, window := s.slot(fmt.Sprintf("avocet-%d", i))
		if again, _ := s.slot(fmt.Sprintf("avocet-%d", i)); at != again || window != 30*time.Second {
			t.Fatalf("%v, then %v, of %v", at, again, window)
		}
		parts[at/(3*time.Second)]++
	}
	for i, n := range parts {
		if n < 60 || n > 145 {
			t.Errorf("%d of 1000 in the %d. of ten parts of the window", n, i+1)
		}
	}
	r := newRig(t)
	id := r.enrolled("avocet")
	r.run(id, nil)
	at, _ := r.server.slot("avocet-1")
	want := fmt.Sprintf(`"slot_seconds":%v,"window_seconds":%v`, at.Seconds(), r.server.o.Heartbeat.Seconds())
	eventually(t, "it is kept at the gateway", func() bool {
		text, err := os.ReadFile(filepath.Join(id.Dir(), "link.json"))
		return err == nil && strings.Contains(string(text), want)
	})
}
