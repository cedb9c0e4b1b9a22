package agent

import (
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// condition is the state of the whole gateway, and the one cause to name.
type condition struct {
	State    checks.State
	Headline string
	Code     string
}

// judge says how the gateway is from how its parts are. A site is down when no
// tunnel works, or, without tunnels, no check; it is degraded when some do not.
// What is broken of the site as a whole is the cause to name, and degrades it
// even where every part is still up, unless that is the line: then the parts
// have not noticed yet.
func judge(tunnels []block.TunnelSnapshot, list []block.CheckSnapshot, site why.Finding, name string, now time.Time) condition {
	if len(tunnels)+len(list) == 0 {
		return condition{State: checks.UnknownState, Headline: "nothing to do: there is no config"}
	}
	parts := make([]checks.State, 0, len(tunnels))
	for _, t := range tunnels {
		parts = append(parts, t.State)
	}
	if len(parts) == 0 {
		for _, c := range list {
			if c.WaitsFor == "line" {
				c.State = checks.Down // not run, for it would be
			}
			parts = append(parts, c.State)
		}
	}
	down, up := 0, 0
	for _, s := range parts {
		switch s {
		case checks.Down:
			down++
		case checks.Up, checks.MaintenanceMode:
			up++
		}
	}
	worst := checks.Up
	for _, t := range tunnels {
		worst = worse(worst, t.State)
	}
	for _, c := range list {
		worst = worse(worst, c.State)
	}
	c := condition{State: checks.Up}
	switch {
	case down == len(parts):
		c.State = checks.Down
	case worst == checks.Down, worst == checks.DegradedState, down > 0:
		c.State = checks.DegradedState
	case worst == checks.UnknownState, up < len(parts):
		c.State = checks.UnknownState
	}
	line := site.Code.Layer() == "LINE"
	switch {
	case site.Code != "" && c.State == checks.Up && !line:
		c.State = checks.DegradedState
		fallthrough
	case site.Code != "" && c.State != checks.Up:
		c.Code = string(site.Code)
		c.Headline = why.Sentence(name, c.State, began(tunnels, list), site.Text, now)
	case c.State != checks.Up:
		c.blame(tunnels, list, now)
	}
	return c
}

// began is when the newest trouble did; zero: nothing is down or degraded.
func began(tunnels []block.TunnelSnapshot, list []block.CheckSnapshot) (at time.Time) {
	note := func(s checks.State, since time.Time) {
		if badness[s] > badness[checks.UnknownState] && (at.IsZero() || since.Before(at)) {
			at = since
		}
	}
	for _, t := range tunnels {
		note(t.State, t.Since)
	}
	for _, c := range list {
		note(c.State, c.Since)
	}
	return at
}

// badness orders states from well to ill. Unknown is better than degraded: it
// says less.
var badness = map[checks.State]int{
	checks.Up: 0, checks.MaintenanceMode: 0, checks.UnknownState: 1, checks.DegradedState: 2, checks.Down: 3,
}

func worse(a, b checks.State) checks.State {
	if badness[b] > badness[a] {
		return b
	}
	return a
}

// blame names the worst tunnel, or else the worst check that does not only wait
// for something.
func (c *condition) blame(tunnels []block.TunnelSnapshot, list []block.CheckSnapshot, now time.Time) {
	worst := checks.Up
	for _, t := range tunnels {
		if t.WaitsFor == "" && badness[t.State] > badness[worst] {
			worst, c.Code = t.State, t.Code
			c.Headline = why.Sentence(t.Network, t.State, t.Since, t.Reason, now)
		}
	}
	for _, k := range list {
		if k.WaitsFor == "" && badness[k.State] > badness[worst] {
			worst, c.Code = k.State, k.Code
			reason := strings.ReplaceAll(k.Reason, "_", " ")
			if k.Reason == string(checks.NotRun) && k.Detail != "" {
				reason = k.Detail
			}
			c.Headline = why.Sentence(k.Name, k.State, k.Since, reason, now)
		}
	}
}
