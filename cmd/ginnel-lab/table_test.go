package main

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func aTable() table {
	var t table
	var d centre.SiteDetail
	d.State, d.Headline, d.Code = checks.DegradedState, "heron is down since 13:55: hub-south does not answer.", "GN-HUB-02"
	d.Snapshots = []centre.Snapshot{{Snapshot: block.Snapshot{
		Tunnels: []block.TunnelSnapshot{
			{Network: "kestrel", Hub: "hub-north", State: checks.Up, HandshakeAge: new(12.2),
				Figures: block.Figures{RTTp50: new(0.0112), Loss: new(0.0)}},
			{Network: "heron", Hub: "hub-south", State: checks.Down},
		},
		Checks: []block.CheckSnapshot{
			{Name: "records", Network: "kestrel", State: checks.Up}, {Name: "names", Network: "kestrel", State: checks.Up},
			{Name: "results", Network: "heron", State: checks.UnknownState},
			{Name: "internet", State: checks.Up, Figures: block.Figures{RTTp50: new(0.0091), Loss: new(0.005)}},
		},
	}}}
	t.add("avocet", d)
	t.add("bittern", centre.SiteDetail{Site: centre.Site{State: checks.UnknownState}})
	return t
}

func TestTable(t *testing.T) {
	want := strings.TrimLeft(`
SITE     NETWORK  HUB        TUNNEL  HANDSHAKE  RTT     LOSS   CHECKS  STATE
avocet   kestrel  hub-north  up      12 s       11 ms   0.0 %  2/2     degraded
         heron    hub-south  down    -          -       -      0/1
         beside   -          -       -          9 ms    0.5 %  1/1
bittern  -                                                             unknown
avocet: heron is down since 13:55: hub-south does not answer. GN-HUB-02
`, "\n")
	got := aTable().String()
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

func TestTableTellsChanges(t *testing.T) {
	before, after := aTable(), aTable()
	after.rows[0].state, after.notes = "up", nil
	got := after.changes(before)
	if !strings.HasSuffix(got, "  avocet   up, was degraded\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
	if got := before.changes(before); got != "" {
		t.Errorf("without a change: %q", got)
	}
}
