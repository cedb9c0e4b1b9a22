package agent_test

import (
	"context"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

// TestEvidenceOfASilentHub has a hub fall silent and speak again, twice: one
// document has the packets from before and after, and outlives the agent.
func TestEvidenceOfASilentHub(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.untilUp()
	c := local.Client{Path: r.paths.Socket()}
	time.Sleep(2 * time.Second) // so that there is a before
	r.silent.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var list []evidence.Entry
	for ctx.Err() == nil && len(list) == 0 {
		time.Sleep(200 * time.Millisecond)
		var err error
		if list, err = c.Evidence(ctx); err != nil {
			t.Fatal(err)
		}
	}
	r.silent.Store(false)
	if len(list) != 1 {
		t.Fatalf("listed %+v", list)
	}
	if w, err := c.Why(t.Context(), "kestrel"); err != nil || w.Evidence == nil || w.Evidence.ID != list[0].ID {
		t.Errorf("why names %+v, %v", w.Evidence, err)
	}
	r.untilUp()
	h, err := c.History(t.Context(), list[0].Name, time.Now().Add(-time.Hour))
	if err != nil || len(h.Evidence) != 1 {
		t.Errorf("history names %+v, %v", h.Evidence, err)
	}
	r.stop()

	again := start(t, root, "")
	b, err := c.EvidenceOf(t.Context(), list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	again.stop()
	good, before, _ := b.Tally(true)
	answered, after, _ := b.Tally(false)
	if good == 0 || good != before || after == 0 || answered > 0 || b.Change.To != checks.Down || b.Subject.Class != "tunnel" || len(b.Tunnels) == 0 || b.Last == nil {
		t.Errorf("before %d of %d, after %d of %d\n%+v", good, before, answered, after, b)
	}
}
