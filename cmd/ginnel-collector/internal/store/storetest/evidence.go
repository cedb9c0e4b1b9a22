package storetest

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// Evidence makes the document of a change of a check of avocet-1 at T0 and so
// long after.
func Evidence(t *testing.T, network string, after time.Duration) (*evidence.Bundle, []byte) {
	t.Helper()
	at := T0.Add(after)
	b := &evidence.Bundle{Version: evidence.Version, ID: evidence.NewID("avocet-1", "records", at), Gateway: "avocet-1", Made: at.Add(12 * time.Second),
		Subject: evidence.Subject{Class: "check", Name: "records", Kind: "tcp", Network: network, Target: "198.51.100.20:443", StandsFor: "Records"},
		Change:  evidence.Change{At: at, Noticed: at.Add(2 * time.Second), From: checks.Up, To: checks.Down, Reason: checks.Refused, Detail: "<b>refused</b>"},
		Finding: evidence.Finding{Code: "GN-SVC-02", Object: "198.51.100.20:443", Text: "198.51.100.20:443 refuses the connection", Means: "A service refuses the connection."},
		Packets: []evidence.Packet{{At: -2, RTT: 0.011, Fate: "answered"}, {At: -1, RTT: 0.012, Fate: "answered"}, {At: 0, Fate: "denied"}, {At: 1, Fate: "denied"}},
		Path:    &evidence.Look{At: at, Kind: "path", Target: "198.51.100.20:443", Verdict: checks.OK, Steps: []evidence.Step{{Name: "hop 1", Took: 0.001, Detail: "100.64.1.1"}}},
		DNS:     &evidence.DNS{Answers: []evidence.Answer{}}}
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b, text
}

func bundles(t *testing.T, s store.Store) {
	ctx := t.Context()
	var all []*evidence.Bundle
	for n := range store.MaxEvidence + 3 {
		b, text := Evidence(t, "kestrel", time.Duration(n)*time.Hour)
		all = append([]*evidence.Bundle{b}, all...)
		for range 2 { // once more: its answer was lost
			if err := s.SaveEvidence(ctx, "avocet-1", b.ID, text, T0); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := s.EvidenceOf(ctx, "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "evidence", got, all[:store.MaxEvidence])
	one, err := s.EvidenceNamed(ctx, "avocet-1", all[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "one", one, all[1])
	_, err = s.EvidenceNamed(ctx, "avocet-1", all[len(all)-1].ID)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.EvidenceNamed(ctx, "bittern-1", all[1].ID)
	wantErr(t, err, store.ErrNotFound)
	if none, err := s.EvidenceOf(ctx, "bittern-1"); err != nil || len(none) != 0 {
		t.Errorf("bittern-1 has %d, %v", len(none), err)
	}
}
