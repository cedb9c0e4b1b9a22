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
	defer func() { // a change of the last moment
		if err := a.remember(a.judged()); err != nil {
			a.o.Log.WarnContext(ctx, "what is shown cannot be kept for the next start", "err", err)
		}
	}()
	failing, late := false, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.changed:
			a.find(ctx)
		case <-a.events:
			if !a.settled(ctx) {
				return nil
			}
			a.drops.stale()
			a.find(ctx)
		case <-tick.C:
			if a.dueToFind() {
				a.find(ctx)
			}
		}
		s, now := a.judged()
		a.updateCondition(s, now)
		a.countRefused()
		if err := a.remember(s, now); err != nil && !failing {
			a.o.Log.WarnContext(ctx, "what is shown cannot be kept for the next start", "err", err)
			failing = true
		} else if err == nil {
			failing = false
		}
		err := a.keepTime()
		if err != nil && !late {
			a.o.Log.WarnContext(ctx, "the time cannot be kept for the next start", "err", err)
		}
		late = err != nil
	}
}

// settled gives what has changed on the host a moment to be put right: most of
// it is what we do ourselves.
func (a *Agent) settled(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Second):
	}
	select {
	case <-a.events:
	default:
	}
	return true
}

// judged is how the parts of the gateway are, without their figures, and the
// gateway judged by them.
func (a *Agent) judged() (block.Snapshot, condition) {
	s := a.parts((*checks.Runner).States)
	return s, judge(s.Tunnels, s.Checks, a.explained(&s), a.called(), time.Now())
}

// sinceOf is since when the gateway is as c says, also where that is not noted yet.
// The state of a site began when that of the part did that made it so, or when it was
// the same before a restart. The caller holds a.mu.
func (a *Agent) sinceOf(s block.Snapshot, c condition) time.Time {
	was := a.before.Site
	switch {
	case c.State == a.last.State:
		return a.since
	case was.State == c.State && a.config != nil && a.config.Hash == a.before.Config:
		return was.Since
	}
	return latestChange(s, a.started)
}

// updateCondition notes how the gateway is.
func (a *Agent) updateCondition(s block.Snapshot, c condition) {
	a.mu.Lock()
	before, name, kept := a.last, a.name, a.spool
	changed := c.State != before.State
	a.since, a.last = a.sinceOf(s, c), c
	if changed {
		a.before.Site = shown{}
	}
	a.mu.Unlock()
	if !changed {
		return
	}
	a.o.Log.Info("site state changed", "from", before.State, "to", c.State, "cause", c.Headline)
	a.kept(kept.Edge(block.Edge{
		At: latestChange(s, a.started), Class: block.SiteClass, Name: name, From: before.State, To: c.State, Code: c.Code, Text: c.Headline, // no owner: whose it is, its tunnels and checks say
	}))
	a.wakeUplink()
}

// keepTime notes that it is now, where the clock can be believed.
func (a *Agent) keepTime() error {
	if c := a.clock.now(a.o.Sight.Kept); c.Synced {
		a.clock.saw(time.Now())
	}
	return a.clock.keep()
}

// called is the gateway's name.
func (a *Agent) called() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name
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
func (a *Agent) look() { tip(a.changed) }

// steer has what would go through a dead tunnel refused at once, until it is
// seen to live again.
func (a *Agent) steer(network, hub string, now checks.State) {
	for _, t := range a.o.Tunnels.Status() {
		if t.Network == network && t.Hub == hub && hub != "" {
			a.o.Tunnels.Dead(t.Device, now == checks.Down)
		}
	}
}
