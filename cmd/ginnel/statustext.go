package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels"
)

// writeStatus prints a snapshot for people, as of now in loc.
func writeStatus(w io.Writer, s block.Snapshot, now time.Time, loc *time.Location) {
	f := statusText{w, now.In(loc), loc}
	f.head(s)
	f.tunnels(s.Tunnels)
	f.checks(s.Checks)
	f.filters(s)
	f.foot(s)
}

// statusText holds what every part of the page needs.
type statusText struct {
	w   io.Writer
	now time.Time
	loc *time.Location
}

func (f statusText) head(s block.Snapshot) {
	name := s.Gateway
	if s.Name != "" {
		name += ", " + s.Name
	}
	if name == "" {
		name = "this gateway"
	}
	f.split(name, strings.ToUpper(string(s.State)))
	if s.Headline != "" {
		f.split(s.Headline, s.Code)
	}
	network, hint := blamed(s)
	if hint != "" {
		f.wrapped("hint: " + hint)
	}
	if s.Config.Error != "" {
		head := "config refused, the one before goes on: "
		if s.Config.Code == string(why.Damaged) {
			head = "nothing new is taken, the last good config goes on: "
		}
		f.split(head+s.Config.Error, s.Config.Code)
	}
	if s.Code != "" {
		f.wrapped(strings.TrimSpace("More: ginnel why " + network))
	}
}

// blamed is the network of the cause that stands first, and what to do about
// it; both may be empty.
func blamed(s block.Snapshot) (network, hint string) {
	for _, t := range s.Tunnels {
		if t.Code != "" && t.Code == s.Code {
			return t.Network, t.Hint
		}
	}
	for _, c := range s.Checks {
		if c.Code != "" && c.Code == s.Code {
			return c.Network, ""
		}
	}
	return "", ""
}

// split prints left and right at both ends of a line; what of left does not fit
// goes below.
func (f statusText) split(left, right string) {
	room := edge
	if right != "" {
		room -= len(right) + 2
	}
	first, rest, more := strings.Cut(cli.Wrap(left, room, ""), "\n")
	if right != "" {
		first = fmt.Sprintf("%s%*s%s", first, max(1, edge-len([]rune(first))-len(right)), "", right)
	}
	fmt.Fprintln(f.w, first)
	if more {
		fmt.Fprintf(f.w, "    %s\n", cli.Wrap(rest, edge-4, "    "))
	}
}

// edge is the last column that the page uses.
const edge = cli.Width - 2

// wrapped prints a line, or as many as it takes.
func (f statusText) wrapped(text string) { fmt.Fprintln(f.w, cli.Wrap(text, edge-4, "    ")) }

func (f statusText) tunnels(list []block.TunnelSnapshot) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(f.w)
	tw := tabwriter.NewWriter(f.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NETWORK\tHUB\tSTATE\tSINCE\tHANDSHAKE\tRTT p50/p95\tLOSS 5 min")
	for _, t := range list {
		hub := t.Hub
		if t.Role == "hub" {
			hub = fmt.Sprintf("%d/%d sites", t.PeersUp, t.Peers)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Network, hub, t.State,
			f.since(t.Since), age(t.HandshakeAge), rtt(t.Figures), loss(t.Figures))
	}
	tw.Flush()
}

func (f statusText) checks(list []block.CheckSnapshot) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(f.w)
	tw := tabwriter.NewWriter(f.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "CHECK\tNETWORK\tSTATE\tSINCE\tRTT p50/p95\tTARGET")
	for _, c := range list {
		network := c.Network
		if network == "" {
			network = "beside"
		}
		figures := rtt(c.Figures)
		switch {
		case c.WaitsFor != "":
			figures = "waits: " + c.WaitsFor
		case c.State != checks.Up && c.Reason != "":
			figures = strings.ReplaceAll(c.Reason, "_", " ")
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, network, c.State, f.since(c.Since), figures, c.Target)
	}
	tw.Flush()
}

// filters tells what was refused since the agent's start, by network and rule,
// what these words mean, and what somebody else keeps changing.
func (f statusText) filters(s block.Snapshot) {
	if len(s.Refused)+len(s.Contested) > 0 {
		fmt.Fprintln(f.w)
	}
	head := "refused"
	for i := 0; i < len(s.Refused); {
		network, words := s.Refused[i].Network, []string{}
		for ; i < len(s.Refused) && s.Refused[i].Network == network; i++ {
			words = append(words, fmt.Sprintf("%d %s", s.Refused[i].Packets, s.Refused[i].Rule))
		}
		fmt.Fprintf(f.w, "%-11s", head)
		f.rest(fmt.Sprintf("%s: %s", network, strings.Join(words, ", ")))
		head = ""
	}
	told := map[string]bool{}
	for _, r := range s.Refused {
		if text := tunnels.RefusalText(r.Rule); text != "" && !told[r.Rule] {
			told[r.Rule] = true
			f.below(r.Rule + ": " + text)
		}
	}
	head = "contested"
	for _, c := range s.Contested {
		text := fmt.Sprintf("%s: %s, %d times since %s", c.Network, c.Object, c.Times, f.since(c.Since))
		if c.Culprit != "" {
			text += ", by " + c.Culprit
		}
		fmt.Fprintf(f.w, "%-11s", head)
		f.rest(text)
		head = ""
	}
}

// rest prints what stands beside a head.
func (f statusText) rest(text string) {
	fmt.Fprintln(f.w, cli.Wrap(text, edge-11, strings.Repeat(" ", 11)))
}

func (f statusText) foot(s block.Snapshot) {
	fmt.Fprintln(f.w)
	f.config(s.Config, s.Collector.URL != "")
	fmt.Fprintf(f.w, "collector  %s\n", f.collectorLine(s.Collector))
	if s.Collector.Error != "" {
		f.below(strings.TrimSpace(s.Collector.Code + " " + s.Collector.Error))
	}
	backend := map[string]string{"kernel": "kernel WireGuard", "userspace": "userspace WireGuard"}[s.Agent.Backend]
	if backend == "" {
		backend = "no tunnels"
	}
	words := []string{s.Agent.Version, backend}
	if s.Clock.Text != "" {
		words = append(words, "clock "+s.Clock.Text)
	}
	words = append(words, fmt.Sprintf("spool %.0f %% full", 100*s.Agent.SpoolUsed))
	fmt.Fprintf(f.w, "%-11s", "gateway")
	f.rest(strings.Join(words, ", "))
	if s.Agent.Trouble != "" {
		f.below(s.Agent.Trouble)
	}
	for _, o := range s.Agent.Outdated {
		f.below(fmt.Sprintf("%s runs data plane %s, installed is %s: ginnel dataplane renew %s", o.Device, o.Version, o.Installed, o.Network))
	}
}

func (f statusText) collectorLine(c block.CollectorSnapshot) string {
	if c.URL == "" {
		return "not enrolled: ginnel enrol PACK"
	}
	receipt := "no receipt yet"
	if !c.LastReceipt.IsZero() {
		receipt = "last receipt " + seconds(f.now.Sub(c.LastReceipt).Seconds()) + " ago"
	}
	waiting := "nothing waiting"
	if c.Waiting > 0 {
		waiting = fmt.Sprintf("%d minutes waiting", c.Waiting)
	}
	return fmt.Sprintf("%s, %s, %s", strings.TrimPrefix(c.URL, "https://"), receipt, waiting)
}

// below prints what belongs to the line above.
func (f statusText) below(text string) {
	fmt.Fprintf(f.w, "%11s", "")
	f.rest(text)
}

// since names a time as shortly as it stays clear: the time today, the weekday
// within a week, else the date.
func (f statusText) since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.In(f.loc)
	switch age := f.now.Sub(t); {
	case t.Format(time.DateOnly) == f.now.Format(time.DateOnly):
		return t.Format("15:04")
	case age < 6*24*time.Hour:
		return t.Format("Mon 15:04")
	}
	return t.Format("2 Jan 2006")
}

func age(s *float64) string {
	if s == nil {
		return "-"
	}
	return seconds(*s)
}

// seconds prints a length of time in its largest whole unit that matters.
func seconds(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%.0f s", max(0, s))
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 2*86400:
		return fmt.Sprintf("%.0f h", s/3600)
	}
	return fmt.Sprintf("%.0f d", s/86400)
}

func rtt(f block.Figures) string {
	if f.RTTp50 == nil || f.RTTp95 == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f/%.1f ms", *f.RTTp50*1e3, *f.RTTp95*1e3)
}

func loss(f block.Figures) string {
	if f.Loss == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", *f.Loss*100)
}

// exitCode is what `ginnel status` ends with: 0 all up, 1 degraded or unknown,
// 2 down. Maintenance counts as up.
func exitCode(s checks.State) int {
	switch s {
	case checks.Up, checks.MaintenanceMode:
		return 0
	case checks.Down:
		return 2
	}
	return 1
}
