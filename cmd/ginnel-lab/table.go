package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// table is all sites as the collector knows them.
type table struct {
	rows  []row
	notes []string // what is not well, in words
	note  string   // about the table itself
}

type row struct {
	site, network, hub, tunnel, handshake, rtt, loss, checks, state string
}

const invitation = `In another terminal
  build/ginnel-lab tour                      ninety seconds, told as it goes
  build/ginnel-lab cut hub-south             who notices, and who is blamed
  build/ginnel-lab exec avocet -- wg show    it is plain WireGuard
  build/ginnel-lab wire avocet               what leaves the site, live
Ctrl-C ends it.
`

// readTable asks the collector for all sites.
func readTable(ctx context.Context, c *county.County) (table, error) {
	var t table
	api, err := c.Collector.API()
	if err != nil {
		return t, err
	}
	for _, s := range c.Sites {
		detail, err := api.Site(ctx, s.Name())
		if err != nil {
			return t, err
		}
		t.add(s.Name(), detail)
	}
	return t, nil
}

// add appends a site's rows: one a tunnel, and one for the checks beside.
func (t *table) add(name string, d centre.SiteDetail) {
	first := len(t.rows)
	for _, s := range d.Snapshots {
		for _, tunnel := range s.Tunnels {
			t.rows = append(t.rows, tunnelRow(tunnel, s.Snapshot))
		}
		if beside := besideRow(s.Snapshot); beside.checks != "0/0" {
			t.rows = append(t.rows, beside)
		}
	}
	if len(t.rows) == first {
		t.rows = append(t.rows, row{network: "-"})
	}
	t.rows[first].site, t.rows[first].state = name, string(d.State)
	if d.Headline != "" {
		t.notes = append(t.notes, strings.TrimSpace(name+": "+d.Headline+" "+d.Code))
	}
}

func tunnelRow(t block.TunnelSnapshot, s block.Snapshot) row {
	r := row{network: t.Network, hub: t.Hub, tunnel: string(t.State), handshake: "-",
		rtt: millis(t.RTTp50), loss: percent(t.Loss), checks: count(s.Checks, t.Network)}
	if t.HandshakeAge != nil {
		r.handshake = fmt.Sprintf("%.0f s", *t.HandshakeAge)
	}
	return r
}

func besideRow(s block.Snapshot) row {
	r := row{network: "beside", hub: "-", tunnel: "-", handshake: "-", rtt: "-", loss: "-", checks: count(s.Checks, "")}
	for _, k := range s.Checks {
		if k.Network == "" {
			r.rtt, r.loss = millis(k.RTTp50), percent(k.Loss)
		}
	}
	return r
}

func count(list []block.CheckSnapshot, network string) string {
	var n centre.Count
	for _, k := range list {
		if k.Network == network {
			n.Add(k.State)
		}
	}
	return fmt.Sprintf("%d/%d", n.Up, n.All)
}

func millis(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f ms", *seconds*1000)
}

func percent(ratio *float64) string {
	if ratio == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", *ratio*100)
}

const tableFormat = "%-8s %-8s %-10s %-7s %-10s %-7s %-6s %-7s %s"

func (t table) String() string {
	var b strings.Builder
	line := func(r row) {
		text := fmt.Sprintf(tableFormat, r.site, r.network, r.hub, r.tunnel, r.handshake, r.rtt, r.loss, r.checks, r.state)
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line(row{"SITE", "NETWORK", "HUB", "TUNNEL", "HANDSHAKE", "RTT", "LOSS", "CHECKS", "STATE"})
	for _, r := range t.rows {
		line(r)
	}
	for _, n := range t.notes {
		b.WriteString(clip(n) + "\n")
	}
	if t.note != "" {
		b.WriteString(clip(t.note) + "\n")
	}
	return b.String()
}

// changes tells what differs in state from an earlier table, a line each.
func (t table) changes(before table) string {
	var b strings.Builder
	now := time.Now().Format(time.TimeOnly)
	for _, r := range t.rows {
		if r.site == "" {
			continue
		}
		i := slices.IndexFunc(before.rows, func(x row) bool { return x.site == r.site })
		if i >= 0 && before.rows[i].state != r.state {
			fmt.Fprintf(&b, "%s  %-8s %s, was %s\n", now, r.site, r.state, before.rows[i].state)
		}
	}
	for _, n := range t.notes {
		if !slices.Contains(before.notes, n) {
			fmt.Fprintf(&b, "%s  %s\n", now, n)
		}
	}
	if t.note != before.note && t.note != "" {
		fmt.Fprintf(&b, "%s  %s\n", now, t.note)
	}
	return b.String()
}

// clip keeps a line within 80 columns: one that wraps would spoil the redraw.
func clip(line string) string {
	line, _, _ = strings.Cut(line, "\n")
	if len(line) > 79 {
		return line[:76] + "..."
	}
	return line
}

func countLines(s string) int { return strings.Count(s, "\n") }

// up moves the cursor up and clears what is below.
func up(lines int) string {
	if lines == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", lines)
}

// erased clears the rest of each line, where an older one was longer.
func erased(text string) string { return strings.ReplaceAll(text, "\n", "\x1b[K\n") }
