package agent_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/checks"
)

// An upgrade is no change of a tunnel: what was up since Tuesday is so, at once.
func TestRestartShowsWhatWasShown(t *testing.T) {
	root := t.TempDir()
	slow := strings.NewReplacer(`"500ms"`, `"1s"`, `"1s"`, `"1h"`).Replace(site)
	r := start(t, root, site)
	r.untilUp()
	before := r.agent.Snapshot()
	r.stop()

	again := start(t, root, "")
	again.until("the state of before", func(local.Client) bool {
		s := again.agent.Snapshot()
		return len(s.Checks) == 1 && s.Since.Equal(before.Since)
	})
	s := again.agent.Snapshot()
	if !s.Since.Equal(before.Since) || !s.Tunnels[0].Since.Equal(before.Tunnels[0].Since) || !s.Checks[0].Since.Equal(before.Checks[0].Since) {
		t.Errorf("since %v, %v, %v; before the restart %v, %v, %v",
			s.Since, s.Tunnels[0].Since, s.Checks[0].Since, before.Since, before.Tunnels[0].Since, before.Checks[0].Since)
	}
	if s.State != checks.Up {
		t.Errorf("state %s before the second result", s.State)
	}

	// Another config says nothing of the checks of the one before.
	again.write(slow)
	if err := again.agent.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := again.agent.Snapshot(); s.Checks[0].State != checks.UnknownState {
		t.Errorf("records is %s under a config that has not measured it", s.Checks[0].State)
	}
	again.stop()

	// It is shown only: what nobody measured is unknown in the record.
	kept, err := spool.Open(again.paths.Spool(), spool.Options{Gateway: "avocet-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	var last checks.State
	for b, err := range kept.Blocks(time.Now().Add(-time.Hour), time.Now()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, sub := range b.Subjects {
			if sub.Name == "records" && b.Sequence < kept.Stats().NextSequence {
				last = sub.State
			}
		}
		for _, e := range b.Edges {
			if e.Name == "records" {
				last = e.To
			}
		}
	}
	if last != checks.UnknownState {
		t.Errorf("the record says %s of the hour in which records was measured once at most", last)
	}
}

// What was shown is forgotten when the checks say otherwise, and when nobody
// measured for long.
func TestRestartShowsWhatIsTrueNow(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.untilUp()
	before := r.agent.Snapshot()
	r.stop()

	again := start(t, root, "")
	again.silent.Store(true)
	again.until("records not up after the first failure", func(local.Client) bool {
		s := again.agent.Snapshot()
		return len(s.Checks) == 1 && s.Checks[0].State == checks.UnknownState
	})
	again.until("records down, since after the restart", func(c local.Client) bool {
		s, err := c.Snapshot(t.Context())
		return err == nil && len(s.Checks) == 1 && s.Checks[0].State == checks.Down && s.Checks[0].Since.After(before.At)
	})
	again.stop()

	if err := os.RemoveAll(again.paths.Spool()); err != nil { // nobody knows when it ended
		t.Fatal(err)
	}
	third := start(t, root, "")
	if s := third.agent.Snapshot(); s.State != checks.UnknownState {
		t.Errorf("state %s with no record of the time before", s.State)
	}
}
