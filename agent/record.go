package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// recorder writes what the runner finds into the spool, before anyone else
// hears of it.
type recorder struct {
	spool    *spool.Spool
	agent    *Agent
	evidence *evidenceKeeper
}

func (r recorder) Sample(s checks.Spec, result checks.Result) {
	r.agent.kept(r.spool.SampleSoon(subjectOf(s), result))
	r.evidence.flight.Sample(s.Name, result)
	r.agent.watched.tell(s, result)
}

// Flush has what was gathered written, within a tick or two of its measurement.
func (r recorder) Flush() {
	if err := r.spool.Flush(); err != nil {
		r.agent.kept(err)
	}
}

func (r recorder) Edge(s checks.Spec, e checks.Edge) {
	sub := subjectOf(s)
	cause := r.agent.causeOf(s, e.To)
	text, whose := brokenStep(s, e), owner(s, e)
	if cause.Code != "" && e.Blame == checks.BlameNobody {
		whose = string(cause.Owner())
		if s.Kind == TunnelKindName || cause.Object != s.Target.Address {
			text = cause.Text
		}
	}
	r.agent.kept(r.spool.Edge(block.Edge{
		At: e.At, Class: sub.Class, Name: sub.Name, From: e.From, To: e.To, Reason: e.Reason,
		Code: string(cause.Code), Text: text, Owner: whose,
	}))
	r.evidence.edge(s, e, cause)
	if s.Kind == TunnelKindName {
		r.agent.steer(s.Target.Network, s.Target.StringOption("hub"), e.To)
	}
	r.agent.look()
	r.agent.wakeUplink()
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
	before, runner, into, flight := a.subjects, a.runner, a.spool, a.flight
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
			flight.Forget(key.name)
		}
	}
	a.weigh(context.Background())
	runner.Behave(c.Manners)
	runner.Sync(wanted)
	a.echoing.sync(responderPlaces(c))
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
		return "waits for " + strings.TrimPrefix(e.Detail, "waits: ")
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
	case s.Kind == TunnelKindName, e.Blame == checks.BlameTunnel:
		return string(why.Centre)
	case e.Blame != checks.BlameNobody:
		return string(e.Blame)
	}
	return string(why.Service)
}
