package web

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// bound takes out of a snapshot what the operator may not see. The state of a
// gateway that has more than that is the worst of what is left.
func bound(s *block.Snapshot, sc access.Scope) {
	if sc.All() {
		return
	}
	hidden := map[string]bool{}
	drop := func(network string) bool {
		if network != "" && !sc.Network(network) {
			hidden[network] = true
			return true
		}
		return false
	}
	s.Tunnels = slices.DeleteFunc(slices.Clone(s.Tunnels), func(t block.TunnelSnapshot) bool { return drop(t.Network) })
	s.Checks = slices.DeleteFunc(slices.Clone(s.Checks), func(c block.CheckSnapshot) bool { return drop(c.Network) })
	s.Refused = slices.DeleteFunc(slices.Clone(s.Refused), func(r block.RefusedSnapshot) bool { return drop(r.Network) })
	s.Contested = slices.DeleteFunc(slices.Clone(s.Contested), func(c block.ContestedSnapshot) bool { return drop(c.Network) })
	s.Agent.Outdated = slices.DeleteFunc(slices.Clone(s.Agent.Outdated), func(o block.OutdatedSnapshot) bool { return drop(o.Network) })
	if len(hidden) == 0 {
		return
	}
	if mentions(s.Config.Error, hidden) {
		s.Config.Error, s.Config.Code = "", ""
	}
	s.Config.Trial = boundTrial(s.Config.Trial, hidden)
	sumUp(s)
}

const aboutOthers = "about networks of other organisations, too"

// boundTrial takes out of a trial what it says of hidden networks.
func boundTrial(t *block.TrialSnapshot, hidden map[string]bool) *block.TrialSnapshot {
	if t == nil {
		return nil
	}
	shown := *t
	shown.Evidence = slices.DeleteFunc(slices.Clone(t.Evidence), func(line string) bool { return mentions(line, hidden) })
	if mentions(t.Reason, hidden) {
		shown.Reason = aboutOthers
	}
	return &shown
}

// sumUp makes state and headline of what the snapshot still tells.
func sumUp(s *block.Snapshot) {
	if centre.Severity(s.State) == 0 {
		return
	}
	s.State, s.Since, s.Code, s.Headline = checks.Up, time.Time{}, "", ""
	worse := func(state checks.State, since time.Time, code, headline string) {
		if centre.Severity(state) > centre.Severity(s.State) {
			s.State, s.Since, s.Code, s.Headline = state, since, code, headline
		}
	}
	for _, t := range s.Tunnels {
		worse(t.State, t.Since, t.Code, fmt.Sprintf("%s is %s: %s", t.Network, t.State, t.Reason))
	}
	for _, c := range s.Checks {
		worse(c.State, c.Since, c.Code, fmt.Sprintf("%s is %s", c.Name, c.State))
	}
}

// visible gives the subjects of a bounded snapshot; nil: all may be seen.
func visible(ctx context.Context, said *centre.Snapshot) map[subject]bool {
	if scope(ctx).All() {
		return nil
	}
	all := map[subject]bool{}
	if said == nil {
		return all
	}
	for _, t := range said.Tunnels {
		all[subject{block.TunnelClass, tunnelName(t)}] = true
	}
	for _, c := range said.Checks {
		all[subject{block.CheckClass, c.Name}] = true
	}
	return all
}
