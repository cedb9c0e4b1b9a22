package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)
	tue := time.Date(2026, 11, 20, 8, 2, 0, 0, time.UTC) // a Friday
	figures := func(p50, p95, loss float64) block.Figures {
		p50, p95 = p50/1e3, p95/1e3
		return block.Figures{RTTp50: &p50, RTTp95: &p95, Loss: &loss}
	}
	s := block.Snapshot{
		Gateway: "avocet-1", Name: "Avocet Surgery", State: checks.DegradedState, Code: "GN-HUB-02",
		Headline: "heron is down since 13:55: hub-south does not answer.",
		Tunnels: []block.TunnelSnapshot{
			{Network: "kestrel", Hub: "hub-north", Role: "site", State: checks.Up, Since: tue, HandshakeAge: new(41.2), Figures: figures(11.2, 14, 0)},
			{Network: "heron", Hub: "hub-south", Role: "site", State: checks.Down, Since: now.Add(-17 * time.Minute), HandshakeAge: new(17 * 60.0),
				Code: "GN-HUB-02", Reason: "hub-south does not answer"},
		},
		Refused: []block.RefusedSnapshot{
			{Network: "kestrel", Rule: "into-lan", Packets: 2}, {Network: "heron", Rule: "into-lan", Packets: 12}, {Network: "heron", Rule: "not-listed", Packets: 3},
		},
		Contested: []block.ContestedSnapshot{{Network: "heron", Object: "rule 5012: from 192.168.10.0/24 lookup 7102", Times: 9,
			Since: now.Add(-17 * time.Minute), Culprit: "fight.sh (pid 312)"}},
		Clock: block.ClockSnapshot{Kept: true, Text: "12 ms off at most"},
		Checks: []block.CheckSnapshot{
			{Name: "records", Network: "kestrel", State: checks.Up, Since: tue, Target: "198.51.100.20:443", Figures: figures(12.4, 15.9, 0)},
			{Name: "results", Network: "heron", State: checks.UnknownState, Since: now.Add(-17 * time.Minute), Target: "203.0.113.40:443", Reason: "blocked", WaitsFor: "heron"},
			{Name: "internet", State: checks.Down, Since: now.AddDate(0, -1, 0), Target: "192.0.2.53:53", Reason: "timeout"},
		},
		Config:    block.ConfigSnapshot{Generation: 14, Hash: "ab", Applied: now.Add(-19 * time.Hour)},
		Collector: block.CollectorSnapshot{URL: "https://collector.example.net", LastReceipt: now.Add(-4 * time.Second)},
		Agent: block.AgentSnapshot{Version: "0.1.0", Backend: "kernel", SpoolUsed: 0.03, Outdated: []block.OutdatedSnapshot{
			{Network: "heron", Device: "gn-heron-sxyz", Version: "0.0.9", Installed: "0.1.0"}}},
	}
	const want = `avocet-1, Avocet Surgery                                              DEGRADED
heron is down since 13:55: hub-south does not answer.                GN-HUB-02
More: ginnel why heron

NETWORK  HUB        STATE  SINCE      HANDSHAKE  RTT p50/p95   LOSS 5 min
kestrel  hub-north  up     Fri 08:02  41 s       11.2/14.0 ms  0.0 %
heron    hub-south  down   13:55      17 min     -             -

CHECK     NETWORK  STATE    SINCE        RTT p50/p95   TARGET
records   kestrel  up       Fri 08:02    12.4/15.9 ms  198.51.100.20:443
results   heron    unknown  13:55        waits: heron  203.0.113.40:443
internet  beside   down     24 Oct 2026  timeout       192.0.2.53:53

refused    kestrel: 2 into-lan
           heron: 12 into-lan, 3 not-listed
           into-lan: the network opened a connection into this site's LAN that
           no [[network.allow]] lists
           not-listed: a site opened a connection that no [[network.allow]]
           from "sites" lists
contested  heron: rule 5012: from 192.168.10.0/24 lookup 7102, 9 times since
           13:55, by fight.sh (pid 312)

config     generation 14, applied Mon 19:12
collector  collector.example.net, last receipt 4 s ago, nothing waiting
gateway    0.1.0, kernel WireGuard, clock 12 ms off at most, spool 3 % full
           gn-heron-sxyz runs data plane 0.0.9, installed is 0.1.0: ginnel
           dataplane renew heron
`
	var got bytes.Buffer
	writeStatus(&got, s, now, time.UTC)
	if got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
	for line := range strings.Lines(got.String()) {
		if len(strings.TrimRight(line, "\n")) > cli.Width {
			t.Errorf("wider than %d columns: %q", cli.Width, line)
		}
	}
}

// Long causes are wrapped, not cut and not run over the edge.
func TestStatusTextOfLongTroubles(t *testing.T) {
	var got bytes.Buffer
	writeStatus(&got, block.Snapshot{
		Gateway: "hub-north", State: checks.Down, Code: "GN-HUB-02",
		Headline: "kestrel is down since 16:26: change port gn-kestrel UDP 42341 -> 51820: UDP port 51820: the port is taken.",
		Config: block.ConfigSnapshot{Hash: "ab", Applied: time.Now(),
			Error: `/etc/ginnel/desired.toml:12:33: network[0].hub[0].allowed_ips[1]: "198.51.100.7/24" has bits set beyond /24 (and 3 more: ginnel plan)`},
		Collector: block.CollectorSnapshot{URL: "https://collector.example.net", Waiting: 12,
			Error: "collector.example.net shows a certificate of a foreign CA, not the one of the site pack"},
		Agent: block.AgentSnapshot{Version: "0.1.0", Trouble: strings.Repeat("the disk is full ", 9)},
	}, time.Now(), time.UTC)
	for line := range strings.Lines(got.String()) {
		if len(strings.TrimRight(line, "\n")) > cli.Width {
			t.Errorf("wider than %d columns: %q", cli.Width, line)
		}
	}
	words := strings.Join(strings.Fields(got.String()), " ")
	for _, want := range []string{"GN-HUB-02", "the port is taken.", "beyond /24 (and 3 more: ginnel plan)", "not the one of the site pack"} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is not in:\n%s", want, got.String())
		}
	}
}

func TestStatusTextOfAnEmptyGateway(t *testing.T) {
	var got bytes.Buffer
	writeStatus(&got, block.Snapshot{State: checks.UnknownState, Agent: block.AgentSnapshot{Version: "0.1.0"}}, time.Now(), time.UTC)
	for _, want := range []string{"not enrolled: ginnel enrol PACK", "none: write /etc/ginnel/desired.toml", "UNKNOWN"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%q is not in:\n%s", want, got.String())
		}
	}
}

func TestStatusTextOfConfigs(t *testing.T) {
	now := time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)
	on := func(state block.ConfigState, trial *block.TrialSnapshot) block.ConfigSnapshot {
		return block.ConfigSnapshot{Generation: 14, Hash: "ab", Applied: now.Add(-19 * time.Hour), State: state, Trial: trial}
	}
	for _, c := range []struct {
		config   block.ConfigSnapshot
		enrolled bool
		want     string
	}{
		{block.ConfigSnapshot{}, true, "none: ready, and idle until the centre sends one\n"},
		{block.ConfigSnapshot{Hash: "ab", Applied: now}, false, "by hand, applied 14:12\n"},
		{block.ConfigSnapshot{Hash: "ab", Applied: now}, true, "by hand, applied 14:12, until the centre sends one\n"},
		{on(block.ConfigApplied, nil), true, "generation 14, applied Mon 19:12, as the centre wants it\n"},
		{block.ConfigSnapshot{Generation: 14, Hash: "ab", Applied: now, State: block.ConfigApplied, Stick: true}, true,
			"generation 14, applied 14:12, from a signed file (ginnel apply)\n"},
		{block.ConfigSnapshot{Generation: 14, Hash: "ab", Applied: now, State: block.ConfigFailed, Code: "GN-CONF-05", Trial: &block.TrialSnapshot{Generation: 15, Reason: "records was good and is dead"}}, true,
			"generation 14, applied 14:12; generation 15 failed\n           GN-CONF-05 records was good and is dead\n"},
		{on(block.ConfigApplying, &block.TrialSnapshot{Generation: 14, Until: now.Add(time.Minute)}), true,
			"generation 14, applied Mon 19:12, on trial until 14:13:00\n"},
		{on(block.ConfigUnconfirmed, &block.TrialSnapshot{Generation: 14, Reason: "the collector cannot be reached"}), true,
			"generation 14, applied Mon 19:12, unconfirmed\n           the collector cannot be reached\n"},
		{on(block.ConfigFailed, &block.TrialSnapshot{Generation: 15, Reason: "kestrel/hub-north was good and is dead", Evidence: []string{"kestrel/hub-north: was good, is dead"}}), true,
			"generation 14, applied Mon 19:12; generation 15 failed\n           kestrel/hub-north was good and is dead\n           - kestrel/hub-north: was good, is dead\n"},
		{on(block.ConfigOverridden, &block.TrialSnapshot{Generation: 15}), true, "generation 14, applied Mon 19:12; generation 15 is overridden by\n           hand\n"},
		{block.ConfigSnapshot{Hash: "ab", Applied: now, State: block.ConfigFailed, Trial: &block.TrialSnapshot{Reason: "config refused: it is not signed"}}, true,
			"by hand, applied 14:12; the newest one failed\n           config refused: it is not signed\n"},
	} {
		var got bytes.Buffer
		statusText{&got, now, time.UTC}.config(c.config, c.enrolled)
		if got.String() != "config     "+c.want {
			t.Errorf("got:\n%s\nwant:\n%s", got.String(), "config     "+c.want)
		}
	}
}
