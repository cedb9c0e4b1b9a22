package agent

import (
	"context"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// watchCondition follows the state of the whole gateway, records its edges, and
// wakes the way to the centre at each.
func (a *Agent) watchCondition(ctx context.Context, ready func()) error {
	ready()
	tick := time.NewTicker(5 * time.Second) // for what is no edge: a step on the host that fails
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.changed:
		case <-tick.C:
		}
		a.updateCondition()
		if err := a.remember(); err != nil && !failing {
			a.o.Log.WarnContext(ctx, "what is shown cannot be kept for the next start", "err", err)
			failing = true
		} else if err == nil {
			failing = false
		}
	}
}

// updateCondition judges the gateway anew. The state of a site began when that
// of the part did that made it so.
func (a *Agent) updateCondition() {
	s := a.parts()
	c := judge(s.Tunnels, s.Checks, time.Now())
	a.mu.Lock()
	before, name, kept := a.last, a.name, a.spool
	changed := c.State != before.State
	a.last = c
	since := latestChange(s, a.started)
	if changed {
		a.since = since
		if was := a.before.Site; was.State == c.State && a.config != nil && a.config.Hash == a.before.Config {
			a.since = was.Since
		}
		a.before.Site = shown{}
	}
	a.mu.Unlock()
	if !changed {
		return
	}
	a.o.Log.Info("site state changed", "from", before.State, "to", c.State, "cause", c.Headline)
	a.kept(kept.Edge(block.Edge{
		At: since, Class: block.SiteClass, Name: name, From: before.State, To: c.State, Code: c.Code, Text: c.Headline, // no owner: whose it is, its tunnels and checks say
	}))
	a.wakeUplink()
}

// latestChange is when the newest of the present states began.
func latestChange(s block.Snapshot, at time.Time) time.Time {
	for _, t := range s.Tunnels {
		if t.Since.After(at) {
			at = t.Since
		}
	}
	for _, c := range s.Checks {
		if c.Since.After(at) {
			at = c.Since
		}
	}
	return at
}

func (a *Agent) wakeUplink() {
	a.mu.Lock()
	up := a.uplink
	a.mu.Unlock()
	if up != nil {
		up.Wake()
	}
}

// look has the state of the whole gateway judged anew, soon.
func (a *Agent) look() {
	select {
	case a.changed <- struct{}{}:
	default: // it looks already
	}
}

// steer has what would go through a dead tunnel refused at once, until it is
// seen to live again.
func (a *Agent) steer(network, hub string, now checks.State) {
	for _, t := range a.o.Tunnels.Status() {
		if t.Network == network && t.Hub == hub && hub != "" {
			a.o.Tunnels.Dead(t.Device, now == checks.Down)
		}
	}
}
