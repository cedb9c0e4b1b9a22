package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// look notes what of a gateway's state an operator should see before a push, and
// which keys are to be asked for; mine as Input has it.
func (p *Plan) look(w Want, s centre.GatewayState, known bool, now time.Time, mine func(network string) bool) {
	note := func(kind, hint, format string, a ...any) {
		p.Looks = append(p.Looks, Look{Kind: kind, Gateway: w.Gateway, Text: w.Gateway + fmt.Sprintf(format, a...), Hint: hint})
	}
	switch {
	case !known:
		hint := "ginnelctl site add " + or(w.Site, w.Gateway)
		if w.Site != "" && w.Gateway != w.Site+"-1" {
			hint += " --gateway " + w.Gateway
		}
		note(Waiting, hint, ": the collector does not know it")
		return
	case s.Enrolled.IsZero():
		note(Waiting, "", ": its pack has not been used yet: sudo ginnel enrol PACK")
		return
	case len(w.Waiting) > 0:
		note(Waiting, "", " waits for a key of %s", strings.Join(w.Waiting, ", "))
		if ask := slices.DeleteFunc(slices.Clone(w.Waiting), func(n string) bool { return mine != nil && !mine(n) }); len(ask) > 0 {
			p.Wanted[w.Gateway] = ask
		}
	}
	if s.LastSeen.IsZero() {
		note(NotSeen, "", " since it was enrolled; takes the newest when it comes")
	} else if s.Silent {
		note(NotSeen, "", " since %s; takes the newest when it comes back", when(s.LastSeen, now))
	}
	if len(s.Clones) > 1 {
		from := make([]string, len(s.Clones))
		for i, c := range s.Clones {
			from[i] = fmt.Sprintf("%s (%s)", c.From, when(c.Seen, now))
		}
		note(Clone, "both keep their tunnels; revoke it, or switch one of them off", ": a copied disk speaks as it, from %s", strings.Join(from, " and "))
	}
	p.fares(w, s, now, note)
}

// fares notes how the last config that was pushed fares.
func (p *Plan) fares(w Want, s centre.GatewayState, now time.Time, note func(kind, hint, format string, a ...any)) {
	reason := ""
	if s.Trial != nil && s.Trial.Reason != "" {
		reason = ": " + s.Trial.Reason
	}
	switch s.State {
	case block.ConfigFailed:
		note(Failed, "", " did not keep generation %d%s", s.Desired.Generation, reason)
	case block.ConfigUnconfirmed:
		note(Unconfirmed, "it ends at the next receipt, or with a newer generation", " holds generation %d, unconfirmed%s", s.Running.Generation, reason)
	case block.ConfigOverridden:
		note(Override, "the next push ends that", ": a technician went back to generation %d by hand", s.Running.Generation)
	case block.ConfigApplying:
		note(OnTheWay, "", " tries generation %d now", s.Desired.Generation)
	case block.ConfigApplied:
		if s.Running.Hash != s.Desired.Hash && s.Desired.Hash != "" && s.Running.Generation >= s.Desired.Generation {
			note(Drift, "", " runs generation %d, which is not what was wanted there (%d)", s.Running.Generation, s.Desired.Generation)
		}
	}
}

// when is a time as short as it can be told: today's hour, this week's day, or
// the date.
func when(t, now time.Time) string {
	t = t.In(now.Location())
	switch gone := now.Sub(t); {
	case gone < 24*time.Hour && t.Day() == now.Day():
		return t.Format("15:04")
	case gone < 6*24*time.Hour:
		return t.Format("Mon 15:04")
	}
	return t.Format("2 Jan 2006")
}
