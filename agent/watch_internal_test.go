package agent

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

// TestHowACheckIsNow: in words what is wrong with it, or what it waits for.
func TestHowACheckIsNow(t *testing.T) {
	since := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		check block.CheckSnapshot
		want  local.HistoryNow
	}{
		"well":     {block.CheckSnapshot{State: checks.Up, Detail: "200 OK"}, local.HistoryNow{State: checks.Up}},
		"down":     {block.CheckSnapshot{State: checks.Down, Detail: "no answer in time", Reason: "timeout", Code: "GN-SVC-01"}, local.HistoryNow{State: checks.Down, Text: "no answer in time", Code: "GN-SVC-01"}},
		"no words": {block.CheckSnapshot{State: checks.Down, Reason: "timeout"}, local.HistoryNow{State: checks.Down, Text: "timeout"}},
		"it waits": {block.CheckSnapshot{State: checks.UnknownState, Detail: "waits: heron", WaitsFor: "heron"}, local.HistoryNow{State: checks.UnknownState, Text: "waits for heron"}},
	} {
		test.check.Name, test.check.Since, test.want.Since = "records", since, since
		s := block.Snapshot{Checks: []block.CheckSnapshot{{Name: "mail"}, test.check}}
		if got := nowOf(s, "records"); got == nil || *got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		if got := nowOf(s, "nobody"); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
