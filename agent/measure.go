package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/checks"
)

// measure waits until the gateway has a name, then measures, keeps and reports
// until ctx is done.
func (a *Agent) measure(ctx context.Context, ready func()) error {
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-a.named:
	}
	kept, err := spool.Open(a.o.Paths.Spool(), spool.Options{Gateway: a.name, Log: a.o.Log})
	if err != nil {
		return err
	}
	defer kept.Close()
	if err := a.recall(kept); err != nil {
		a.o.Log.WarnContext(ctx, "what was shown before is forgotten", "err", err)
	}
	runner := checks.NewRunner(checks.RunnerOptions{
		Gateway: a.name, Registry: a.o.Registry, Log: a.o.Log,
		Sink: recorder{kept, a}, Blocker: a.blocked,
	})
	defer runner.Close()
	a.mu.Lock()
	a.spool, a.runner = kept, runner
	c := a.config
	a.mu.Unlock()
	if c != nil {
		a.sync(c)
	}
	a.look()
	return run.Run(ctx, []run.Task{
		{Name: "spool", Run: kept.Run},
		{Name: "site state", Run: a.watchCondition},
		{Name: "collector", Run: a.report},
	}, func() {})
}

// report keeps the centre told, from the moment that the gateway is enrolled.
func (a *Agent) report(ctx context.Context, ready func()) error {
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-a.enrolled:
	}
	var extraCA []byte
	if file := a.o.Host.ExtraCA; file != "" {
		var err error
		if extraCA, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("read the extra CA: %w", err)
		}
	}
	a.mu.Lock()
	id, kept := a.identity, a.spool
	a.mu.Unlock()
	up, err := uplink.New(uplink.Options{
		Identity: id, Version: a.o.Version, Snapshot: a.Snapshot, Effective: a.running,
		Queue: kept, Proxy: a.o.Host.Proxy, ExtraCA: extraCA, Log: a.o.Log,
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.uplink = up
	a.mu.Unlock()
	return run.Run(ctx, []run.Task{
		{Name: "control", Run: up.Control},
		{Name: "delivery", Run: up.Deliver},
	}, func() {})
}

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

// recorder writes what the runner finds into the spool, before anyone else
// hears of it.
type recorder struct {
	spool *spool.Spool
	agent *Agent
}

func (r recorder) Sample(s checks.Spec, result checks.Result) {
	r.agent.kept(r.spool.Sample(subjectOf(s), result))
}

func (r recorder) Edge(s checks.Spec, e checks.Edge) {
	sub := subjectOf(s)
	r.agent.kept(r.spool.Edge(block.Edge{
		At: e.At, Class: sub.Class, Name: sub.Name, From: e.From, To: e.To, Reason: e.Reason,
		Text: brokenStep(s, e), Owner: owner(s, e),
	}))
	if s.Kind == TunnelKindName {
		r.agent.steer(s.Target.Network, s.Target.StringOption("hub"), e.To)
	}
	r.agent.look()
	r.agent.wakeUplink()
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

// kept notes what is wrong with the spool. What it could not write it keeps in
// memory for a while; the log hears of it when it begins and when it ends.
func (a *Agent) kept(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	had := a.spoolErr
	a.spoolErr = err
	switch {
	case err != nil && had == nil:
		a.o.Log.Error("what is measured cannot be written down", "err", err)
	case err == nil && had != nil:
		a.o.Log.Info("what is measured can be written down again")
	}
}

// sync makes what is measured that of the config: the spool knows each subject
// before its first result, and forgets those that are no longer wanted.
func (a *Agent) sync(c *config.Config) {
	wanted := checksOf(c)
	a.mu.Lock()
	before, runner, into := a.subjects, a.runner, a.spool
	a.subjects = map[subjectKey]bool{}
	for _, s := range wanted {
		a.subjects[keyOf(subjectOf(s))] = true
	}
	now := a.subjects
	a.mu.Unlock()
	for _, s := range wanted {
		if sub := subjectOf(s); !before[keyOf(sub)] {
			a.kept(into.SetState(sub, checks.UnknownState))
		}
	}
	for key := range before {
		if !now[key] {
			a.kept(into.Forget(key.class, key.name))
		}
	}
	runner.Sync(wanted)
}

// subjectKey names a subject whatever it says of itself.
type subjectKey struct {
	class block.Class
	name  string
}

func keyOf(s spool.Subject) subjectKey { return subjectKey{s.Class, s.Name} }

// subjectOf names a check, or a tunnel, in a block.
func subjectOf(s checks.Spec) spool.Subject {
	sub := spool.Subject{
		Class: block.CheckClass, Name: s.Name, Network: s.Target.Network, Target: s.Target.Address, StandsFor: s.StandsFor,
	}
	if s.Kind == TunnelKindName {
		sub.Class = block.TunnelClass
	}
	return sub
}

// brokenStep says in words what broke first, for reports.
func brokenStep(s checks.Spec, e checks.Edge) string {
	switch {
	case e.To == checks.Up:
		return ""
	case s.Kind == TunnelKindName:
		return e.Detail
	case e.Reason == checks.Blocked:
		return "waits for " + s.Target.Network
	}
	if strings.Contains(e.Detail, s.Target.Address) {
		return e.Detail
	}
	return fmt.Sprintf("%s: %s", s.Target.Address, e.Detail)
}

// owner says whose a fault is, as far as one measurement can tell.
func owner(s checks.Spec, e checks.Edge) string {
	switch {
	case e.To == checks.Up, e.To == checks.UnknownState:
		return ""
	case s.Kind == TunnelKindName:
		return "centre"
	}
	return "service"
}

// blocked says that a check through a network waits for its tunnel.
func (a *Agent) blocked(s checks.Spec) (string, bool) {
	if s.Kind == TunnelKindName || s.Target.Network == "" {
		return "", false
	}
	a.mu.Lock()
	runner := a.runner
	c := a.config
	a.mu.Unlock()
	if runner == nil || c == nil {
		return "", false
	}
	active := activeTunnel(c, s.Target.Network)
	for _, st := range runner.Status() {
		if st.Spec.Kind == TunnelKindName && st.Spec.Name == active {
			return s.Target.Network, st.State == checks.Down
		}
	}
	return "", false
}

// activeTunnel is the tunnel that a network's routes use: the first hub's.
func activeTunnel(c *config.Config, network string) string {
	for _, n := range c.Networks {
		if n.Name == network && len(n.Hubs) > 0 {
			return tunnelName(network, n.Hubs[0].Name)
		}
	}
	return tunnelName(network, "")
}

// Report is this gateway's own report of a month, from the blocks that it kept.
func (a *Agent) Report(_ context.Context, p report.Period) (*report.Report, error) {
	a.mu.Lock()
	kept, name, site := a.spool, a.name, a.identity.Site()
	a.mu.Unlock()
	if kept == nil {
		return nil, errors.New("nothing is measured yet: there is no config")
	}
	from, to, err := p.Span()
	if err != nil {
		return nil, err
	}
	about := report.Site{ID: cmp.Or(site.ID, name), Name: site.Name, Gateway: name}
	return report.Compute(p, about, kept.Blocks(from.Add(-report.Margin), to.Add(report.Margin)))
}
