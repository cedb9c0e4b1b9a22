package agent

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
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
	none := why.Finding{}
	tests := []struct {
		name    string
		tunnels []block.TunnelSnapshot
		checks  []block.CheckSnapshot
		site    why.Finding
		want    condition
	}{
		{"no config", nil, nil, none, condition{State: checks.UnknownState, Headline: "nothing to do: there is no config"}},
		{"all well", []block.TunnelSnapshot{tunnel("kestrel", checks.Up)}, []block.CheckSnapshot{check("records", checks.Up, "")},
			none, condition{State: checks.Up}},
		{"maintenance counts as up", []block.TunnelSnapshot{tunnel("kestrel", checks.MaintenanceMode)}, nil,
			none, condition{State: checks.Up}},
		{"one of two networks down",
			[]block.TunnelSnapshot{tunnel("kestrel", checks.Up), tunnel("heron", checks.Down)},
			[]block.CheckSnapshot{check("results", checks.UnknownState, "heron")},
			none, condition{State: checks.DegradedState, Headline: "heron is down since 13:55: hub-south does not answer."}},
		{"the only network down", []block.TunnelSnapshot{tunnel("heron", checks.Down)}, []block.CheckSnapshot{check("internet", checks.Up, "")},
			none, condition{State: checks.Down, Headline: "heron is down since 13:55: hub-south does not answer."}},
		{"a service down behind a good tunnel", []block.TunnelSnapshot{tunnel("kestrel", checks.Up)},
			[]block.CheckSnapshot{check("records", checks.Down, "")},
			none, condition{State: checks.DegradedState, Headline: "records is down since 13:55: refused."}},
		{"nothing is known yet", []block.TunnelSnapshot{tunnel("kestrel", checks.UnknownState)}, nil,
			none, condition{State: checks.UnknownState, Headline: "kestrel is unknown since 13:55: hub-south does not answer."}},
		{"nothing is known yet, and nothing is wrong", nil, []block.CheckSnapshot{{Name: "records", State: checks.UnknownState, Since: at}},
			none, condition{State: checks.UnknownState, Headline: "records is unknown since 13:55: not measured often enough yet."}},
		{"since another day", []block.TunnelSnapshot{{Network: "heron", State: checks.Down, Since: at.AddDate(0, 0, -3), Reason: "hub-south does not answer"}}, nil,
			none, condition{State: checks.Down, Headline: "heron is down since 21 Nov 13:55: hub-south does not answer."}},
		{"a reason in words", nil, []block.CheckSnapshot{{Name: "records", State: checks.Down, Since: at, Reason: "not_resolved"}},
			none, condition{State: checks.Down, Headline: "records is down since 13:55: not resolved."}},
		{"no tunnels, every check down", nil, []block.CheckSnapshot{check("internet", checks.Down, "")},
			none, condition{State: checks.Down, Headline: "internet is down since 13:55: refused."}},
		{"no tunnels, and every check waits for the line", nil, []block.CheckSnapshot{check("internet", checks.UnknownState, "line")},
			why.Finding{Code: why.NoCarrier, Text: "eth0 has no carrier"},
			condition{State: checks.Down, Headline: "avocet-1 is down: eth0 has no carrier.", Code: "GN-LINE-01"}},
		{"what only waits is never named",
			[]block.TunnelSnapshot{tunnel("kestrel", checks.DegradedState)},
			[]block.CheckSnapshot{check("records", checks.Down, "kestrel")},
			none, condition{State: checks.DegradedState, Headline: "kestrel is degraded since 13:55: hub-south does not answer."}},
		{"the line is the cause, and named as such",
			[]block.TunnelSnapshot{{Network: "heron", State: checks.Down, Since: at, WaitsFor: "line"}}, nil,
			why.Finding{Code: why.NoCarrier, Text: "eth0 has no carrier"},
			condition{State: checks.Down, Headline: "avocet-1 is down since 13:55: eth0 has no carrier.", Code: "GN-LINE-01"}},
		{"somebody's firewall is in the way though all tunnels are up", []block.TunnelSnapshot{tunnel("kestrel", checks.Up)}, nil,
			why.Finding{Code: why.ForeignDrop, Text: "docker's chain drops what is forwarded"},
			condition{State: checks.DegradedState, Headline: "avocet-1 is degraded: docker's chain drops what is forwarded.", Code: "GN-HOST-04"}},
		{"the cable is out, and no tunnel has noticed yet", []block.TunnelSnapshot{tunnel("kestrel", checks.Up)}, nil,
			why.Finding{Code: why.NoCarrier, Text: "eth0 has no carrier"}, condition{State: checks.Up}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.tunnels, tt.checks, tt.site, "avocet-1", at.Add(17*time.Minute)); got != tt.want {
				t.Errorf("\ngot  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestBrokenStepSaysTheTargetOnce(t *testing.T) {
	s := checks.Spec{Name: "records", Kind: "tcp", Target: checks.Target{Address: "198.51.100.20:443", Network: "kestrel"}}
	for detail, want := range map[string]string{
		"connecting to 198.51.100.20:443: connection refused": "connecting to 198.51.100.20:443: connection refused",
		"no answer in time": "198.51.100.20:443: no answer in time",
	} {
		if got := brokenStep(s, checks.Edge{To: checks.Down, Reason: checks.Refused, Detail: detail}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := brokenStep(s, checks.Edge{To: checks.UnknownState, Reason: checks.Blocked, Detail: "waits: line"}); got != "waits for line" {
		t.Errorf("blocked: %q", got)
	}
}

func TestTroubleOfAFullDiskIsToldOnce(t *testing.T) {
	full := fmt.Errorf("write /x/1.open: %w", syscall.ENOSPC)
	if got, want := trouble(errors.Join(full, fmt.Errorf("edge: %w", full)), "/x"), "no room on the disk for what is measured (/x); kept in memory for now"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := trouble(errors.Join(errors.New("a"), errors.New("b")), "/x"); got != "a; b" {
		t.Errorf("%q", got)
	}
}
