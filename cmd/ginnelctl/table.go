package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// writeSites prints one row for each tunnel of each site, and below the table
// what is the matter with those that are not up.
func writeSites(w io.Writer, all []centre.SiteDetail, now time.Time, zone *time.Location) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No site yet. The first: ginnelctl site add ID --name NAME --network NETWORK")
		return err
	}
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SITE\tNETWORK\tHUB\tTUNNEL\tHANDSHAKE\tRTT\tLOSS\tCHECKS\tSTATE")
	for _, s := range all {
		for i, r := range rows(s) {
			id, state := s.ID, string(s.State)
			if i > 0 {
				id, state = "", ""
			}
			fmt.Fprintln(tw, strings.Join(append(append([]string{id}, r...), state), "\t"))
		}
	}
	tw.Flush() // a Builder takes everything
	for line := range strings.Lines(cli.Printable(table.String())) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return writeMatters(w, all, now, zone)
}

// rows are the columns from NETWORK to CHECKS of one site.
func rows(s centre.SiteDetail) [][]string {
	var all [][]string
	for _, snap := range s.Snapshots {
		counted := map[string]bool{}
		current := isCurrent(s, snap.Gateway)
		for i, t := range snap.Tunnels {
			hub := t.Hub
			if t.Role == "hub" {
				hub = fmt.Sprintf("%d/%d sites", t.PeersUp, t.Peers)
			}
			r := []string{t.Network, dash(hub), string(t.State), handshake(t.HandshakeAge), milliseconds(t.RTTp50), percent(t.Loss), ""}
			if !current {
				r = []string{t.Network, dash(hub), string(checks.UnknownState), "-", "-", "-", ""}
			}
			if !counted[t.Network] {
				counted[t.Network] = true
				r[6] = countChecks(snap.Snapshot, t.Network, i == 0)
			}
			if !current {
				r[6] = dash("")
			}
			all = append(all, r)
		}
	}
	if all == nil {
		all = [][]string{{dash(strings.Join(s.Networks, ",")), "-", "-", "-", "-", "-", "-"}}
	}
	return all
}

// isCurrent says whether what a gateway said last is of now.
func isCurrent(s centre.SiteDetail, gateway string) bool {
	for _, g := range s.Gateways {
		if g.Name == gateway {
			return g.Current
		}
	}
	return false
}

// countChecks counts the checks through a network that are up; those beside
// all networks count in a site's first row.
func countChecks(s block.Snapshot, network string, first bool) string {
	var n centre.Count
	for _, c := range s.Checks {
		if c.Network == network || first && c.Network == "" {
			n.Add(c.State)
		}
	}
	if n.All == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", n.Up, n.All)
}

// writeMatters says what is the matter, one line a site.
func writeMatters(w io.Writer, all []centre.SiteDetail, now time.Time, zone *time.Location) error {
	var lines []string
	for _, s := range all {
		text := strings.TrimSuffix(s.Headline, ".")
		switch {
		case s.LastSeen.IsZero() && enrolled(s):
			text = "enrolled, but not heard of yet: ginnel status, at the gateway"
		case s.LastSeen.IsZero():
			text = "waits for its gateway: sudo ginnel enrol PACK"
		case s.State == checks.UnknownState && text == "":
			text = "not heard of since " + clock(s.LastSeen, now, zone)
		case text == "":
			continue
		case !s.Since.IsZero() && !strings.Contains(text, " since "): // a gateway's own says it
			text += ", since " + clock(s.Since, now, zone)
		}
		if s.Code != "" {
			text += " (" + s.Code + ")"
		}
		lines = append(lines, wrap(fmt.Sprintf("  %-10s ", s.ID), text))
	}
	if lines == nil {
		return nil
	}
	_, err := fmt.Fprint(w, "\nLook at these\n", strings.Join(lines, ""))
	return err
}

func enrolled(s centre.SiteDetail) bool {
	return slices.ContainsFunc(s.Gateways, func(g centre.Gateway) bool { return !g.Enrolled.IsZero() })
}

// width is how wide our output may be, in columns.
const width = 80

// wrap breaks text between words and indents its lines by the head's length.
func wrap(head, text string) string {
	out, used := head, len(head)
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case used+1+len(word) > width:
			out += "\n" + strings.Repeat(" ", len(head))
			used = len(head)
		default:
			out += " "
			used++
		}
		out += word
		used += len(word)
	}
	return cli.Printable(out + "\n")
}

// clock is a time as short as it can be told: today's hour, this week's day, or
// the date.
func clock(t, now time.Time, zone *time.Location) string {
	t, now = t.In(zone), now.In(zone)
	switch gone := now.Sub(t); {
	case gone < 24*time.Hour && t.Day() == now.Day():
		return t.Format("15:04")
	case gone < 6*24*time.Hour:
		return t.Format("Mon 15:04")
	}
	return t.Format("2 Jan 2006")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func handshake(age *float64) string {
	switch {
	case age == nil:
		return "-"
	case *age < 120:
		return fmt.Sprintf("%.0f s", *age)
	case *age < 120*60:
		return fmt.Sprintf("%.0f min", *age/60)
	}
	return fmt.Sprintf("%.0f h", *age/3600)
}

func milliseconds(s *float64) string {
	switch {
	case s == nil:
		return "-"
	case *s < 0.01:
		return fmt.Sprintf("%.1f ms", *s*1000)
	}
	return fmt.Sprintf("%.0f ms", *s*1000)
}

func percent(r *float64) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", *r*100)
}
