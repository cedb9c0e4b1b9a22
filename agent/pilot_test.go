package agent

import (
	"encoding/hex"
	"log/slog"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/uplink"
)

// A collector may offer the same config with every answer.
func TestSameOfferAgainIsNotLookedAt(t *testing.T) {
	for _, c := range []struct {
		phase  trial.Phase
		reason string
		looked bool
		want   uplink.OfferState
	}{
		{trial.Kept, "", false, uplink.Applied},
		{trial.Failed, "kestrel/hub-north was good and is dead", false, uplink.Failed},
		{trial.Failed, trial.Inconclusive + "kestrel/hub-north is dead under the old config too", true, uplink.Failed},
		{trial.Overridden, "a technician went back by hand", false, uplink.Failed},
		{"", "", true, uplink.Unset},
	} {
		a := &Agent{o: Options{Paths: DefaultPaths(t.TempDir()), Log: slog.New(slog.DiscardHandler)}}
		p := newPilot(a)
		hash := []byte("a hash")
		if c.phase != "" {
			r := trial.Record{Phase: c.phase, Hash: hex.EncodeToString(hash), Generation: 2, Began: time.Now(), Reason: c.reason}
			if err := p.trial.Journal.Write(r); err != nil {
				t.Fatal(err)
			}
			if err := p.trial.Resume(t.Context()); err != nil { // as at a start
				t.Fatal(err)
			}
		}
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
