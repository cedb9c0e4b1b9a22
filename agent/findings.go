package agent

import (
	"context"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// What is broken is found by package why. It is looked for at each change of
// state, every few seconds while something is not well, and now and then while
// all is; never because somebody asks for the status.

// whileWell is how often all is looked through although all is well: of what
// others do beside us no event tells.
const whileWell = 10 * time.Second

// find looks for what is broken now.
func (a *Agent) find(ctx context.Context) {
	found := why.Judge(a.facts(ctx))
	a.o.Faults.set(found.Tunnels)
	a.mu.Lock()
	a.found, a.foundAt = found, time.Now()
	a.mu.Unlock()
	a.weigh(ctx)
}

// dueToFind says whether it is time to look again where nothing has changed.
func (a *Agent) dueToFind() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ill := a.last.State != checks.Up || a.found.Site.Broken() || len(a.found.Tunnels)+len(a.found.Checks) > 0
	return ill || time.Since(a.foundAt) >= whileWell
}

// explained puts what was found beside the states that it explains.
func (a *Agent) explained(s *block.Snapshot) why.Finding {
	a.mu.Lock()
	found := a.found
	a.mu.Unlock()
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		one := found.Tunnels[tunnelName(t.Network, t.Hub)]
		if t.State == checks.Up || t.State == checks.MaintenanceMode || !one.Broken() {
			continue
		}
		t.Code, t.WaitsFor = string(one.Code), one.WaitsFor
		if one.Text != "" {
			t.Reason, t.Hint = one.Text, one.Hint
		}
	}
	for i := range s.Checks {
		c := &s.Checks[i]
		one := found.Checks[c.Name]
		switch {
		case c.State == checks.Up || c.State == checks.MaintenanceMode || c.WaitsFor != "":
		case one.WaitsFor != "":
			c.WaitsFor = one.WaitsFor
		case one.Code == why.NoSuchCheck || one.Code == why.Quarantined: // what stands beside it may be newer than what was found
			c.Code = string(why.CodeOfNotRun(c.Detail))
		default:
			c.Code = string(one.Code)
		}
	}
	return found.Site
}

// causeOf says what is behind a state that something has just come into. What
// only waits has the cause of what it waits for.
func (a *Agent) causeOf(s checks.Spec, to checks.State) why.Finding {
	if to != checks.Down && to != checks.DegradedState {
		return why.Finding{}
	}
	found := why.Judge(a.facts(context.Background()))
	one := found.Checks[s.Name]
	if s.Kind == TunnelKindName {
		one = found.Tunnels[s.Name]
	}
	if one.WaitsFor != "" && found.Site.Broken() {
		return found.Site
	}
	return one
}
