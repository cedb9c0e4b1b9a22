package agent

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

func TestJudge(t *testing.T) {
	at := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	tunnel := func(network string, s checks.State) block.TunnelSnapshot {
		return block.TunnelSnapshot{Network: network, State: s, Since: at, Reason: "hub-south does not answer"}
	}
	check := func(name string, s checks.State, waits string) block.CheckSnapshot {
		return block.CheckSnapshot{Name: name, State: s, Since: at, Reason: "refused", WaitsFor: waits}
	}
	tests := []struct {
		name    string
		tunnels []block.TunnelSnapshot
		checks  []block.CheckSnapshot
		want    condition
	}{
		{"no config", nil, nil, condition{State: checks.UnknownState, Headline: "nothing to do: there is no config"}},
		{"all well", []block.TunnelSnapshot{tunnel("kestrel", checks.Up)}, []block.CheckSnapshot{check("records", checks.Up, "")},
			condition{State: checks.Up}},
		{"maintenance counts as up", []block.TunnelSnapshot{tunnel("kestrel", checks.MaintenanceMode)}, nil,
			condition{State: checks.Up}},
		{"one of two networks down",
			[]block.TunnelSnapshot{tunnel("kestrel", checks.Up), tunnel("heron", checks.Down)},
			[]block.CheckSnapshot{check("results", checks.UnknownState, "heron")},
			condition{State: checks.DegradedState, Headline: "heron is down since 13:55: hub-south does not answer."}},
		{"the only network down", []block.TunnelSnapshot{tunnel("heron", checks.Down)}, []block.CheckSnapshot{check("internet", checks.Up, "")},
			condition{State: checks.Down, Headline: "heron is down since 13:55: hub-south does not answer."}},
		{"a service down behind a good tunnel", []block.TunnelSnapshot{tunnel("kestrel", checks.Up)},
			[]block.CheckSnapshot{check("records", checks.Down, "")},
			condition{State: checks.DegradedState, Headline: "records is down since 13:55: refused."}},
		{"nothing is known yet", []block.TunnelSnapshot{tunnel("kestrel", checks.UnknownState)}, nil,
			condition{State: checks.UnknownState, Headline: "kestrel is unknown since 13:55: hub-south does not answer."}},
		{"no tunnels, every check down", nil, []block.CheckSnapshot{check("internet", checks.Down, "")},
			condition{State: checks.Down, Headline: "internet is down since 13:55: refused."}},
		{"what only waits is never named",
			[]block.TunnelSnapshot{tunnel("kestrel", checks.DegradedState)},
			[]block.CheckSnapshot{check("records", checks.Down, "kestrel")},
			condition{State: checks.DegradedState, Headline: "kestrel is degraded since 13:55: hub-south does not answer."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.tunnels, tt.checks, time.UTC); got != tt.want {
				t.Errorf("\ngot  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
