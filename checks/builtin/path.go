package builtin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// Path is the kind that finds the routers on the way to a TCP port. It opens a
// connection again and again, each with one hop more to live, until one comes
// about, and reads from the socket which router let the last one die.
//
// A connection that the kernel opens needs no right, is let through wherever the
// service itself is, and keeps its addresses and ports from hop to hop and from
// run to run, so that routers which spread flows over several ways send all of it
// by one. That is the idea of Paris traceroute.
//
// A target that may not be asked again, as a national one, has one connection of a
// run at most: once it has answered, how far away it is stays open.
func Path() checks.Kind {
	return checks.Kind{
		Name: "path",
		Doc:  "finds the routers on the way to host:port, by TCP connections that live for so many hops only; at most every two minutes",
		Schema: checks.Schema{
			"max_hops": {Type: "int", Doc: "hops to look for", Default: 30, Min: new(1.0), Max: new(64.0)},
			"wait":     {Type: "duration", Doc: "how long a router may take; many say nothing", Default: "300ms", Min: new(0.05), Max: new(0.9)},
			"hops":     {Type: "int", Doc: "degraded when there are more; 0: however many", Default: 0, Min: new(0.0), Max: new(64.0)},
		},
		Least: 2 * time.Minute, // a closed connection keeps its ports for one (TIME_WAIT)
		New:   newPath,
	}
}

type pathCheck struct {
	target checks.Target
	place  reach.Place
	most   int
	wait   time.Duration
	limit  int
	flow   flow
	once   string // why the target may have no second connection in this run; empty: it may
	before trace  // of the run before
}

func newPath(t checks.Target) (checks.Check, error) {
	p, err := reach.ParsePlace(t.Address, 0)
	if err != nil {
		return nil, err
	}
	return &pathCheck{target: t, place: p, most: t.IntOption("max_hops"), wait: t.DurationOption("wait"), limit: t.IntOption("hops")}, nil
}

// trace is what was found of a way.
type trace struct {
	to   netip.Addr
	port uint16 // ours
	hops []hop
	last hop // the one that ended it: the target, or whoever said no
}

// hop is an answer, or none.
type hop struct {
	distance int
	by       netip.Addr // not valid: it said nothing
	took     time.Duration
	kind     hopKind
	err      error // of a denial
}

type hopKind int

const (
	silent  hopKind = iota
	router          // time exceeded
	reached         // the target took the connection
	refused         // the target, or somebody for it, reset it
	denied          // a router said that there is no way
)

func (c *pathCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now()}
	w, err := reach.Find(ctx, c.target, c.place.Host)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseResolve, "resolving "+c.place.Host, err))
	}
	r.Path = w.Link()
	r.Steps = append(r.Steps, w.Step(c.place.Host))
	c.flow.aim(w, c.place.Port)
	c.once = checks.MayAsk(ctx, c.target.Address)
	t, err := c.walk(ctx)
	r.Steps = append(r.Steps, t.steps()...)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseConnect, "connecting to "+c.place.String()+w.Stale(), err))
	}
	r.Sent = 1
	if f := c.judge(t); f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	if t.last.answers() {
		r.Received, r.RTT, r.Stamps = 1, []time.Duration{t.last.took}, checks.UserStamps
	}
	if t.whole() {
		r.Values = append(r.Values, checks.Value{Name: "hops", Number: float64(t.last.distance), Unit: "1"})
	}
	if news := t.news(c.before); news != "" {
		r.Detail = strings.TrimPrefix(r.Detail+"; "+news, "; ")
	}
	if t.last.answers() && !t.whole() && c.once != "" {
		r.Detail = "it answers, and is not asked again from how far: " + c.once
	}
	if t.whole() {
		c.before = t
	}
	return w.Told(r)
}

// patience is after how many routers in a row that say nothing the target is
// asked whether it is there at all.
const patience = 3

// walk goes on from hop to hop. The error is one of ours, or ctx's.
func (c *pathCheck) walk(ctx context.Context) (trace, error) {
	t := trace{to: c.flow.way.To}
	quiet, there := 0, false
	for distance := 1; distance <= c.most; distance++ {
		h, err := c.flow.ask(ctx, distance, c.wait)
		if err == nil && h.kind == silent && c.once == "" { // again: the first may have waited for a neighbour
			h, err = c.flow.ask(ctx, distance, c.wait)
		}
		t.port = c.flow.port
		switch {
		case there && errors.Is(err, context.DeadlineExceeded):
			return t, nil // it answers, though we do not know from where
		case err != nil:
			return t, err
		}
		if h.kind != silent && h.kind != router {
			t.last = h
			return t, c.nearer(ctx, &t)
		}
		t.hops = append(t.hops, h)
		if quiet++; h.kind == router {
			quiet = 0
		}
		if quiet < patience || there {
			continue
		}
		if t.last, err = c.flow.ask(ctx, 0, 3*c.wait); err != nil || !t.last.answers() || c.once != "" {
			return t, err
		}
		there = true
	}
	if !there { // it is further away than we look, or not there
		var err error
		t.last, err = c.flow.ask(ctx, 0, 3*c.wait)
		return t, err
	}
	return t, nil
}

// nearer looks whether the target is one of the silent hops before it: what was
// lost may have been its answer. That is another flow, for the connection that
// came about keeps its ports for a while.
func (c *pathCheck) nearer(ctx context.Context, t *trace) error {
	other := flow{way: c.flow.way, to: c.flow.to}
	for n := len(t.hops); n > 0 && c.once == "" && t.last.answers() && t.hops[n-1].kind == silent; n-- {
		h, err := other.ask(ctx, n, c.wait)
		if err != nil || !h.answers() {
			return err
		}
		t.last, t.hops = h, t.hops[:n-1]
	}
	return nil
}

// answers: it is the target's.
func (h hop) answers() bool { return h.kind == reached || h.kind == refused }

// whole: the target answered, and it is known from how far.
func (t trace) whole() bool {
	return t.last.distance > 0 && t.last.answers()
}

// judge says what is wrong with a way; nil: nothing. A router that says nothing
// is not wrong: most say something seldom, so that they are not kept busy.
func (c *pathCheck) judge(t trace) *reach.Fault {
	to := c.place.String()
	switch {
	case t.last.kind == denied:
		return reach.Fail(checks.Unreachable, checks.PhaseRoute, "%v says: %v", t.last.by, t.last.err)
	case t.last.kind == silent && t.furthest() == 0:
		return reach.Fail(checks.Timeout, checks.PhaseConnect, "no answer from %s, nor from any router on the way", to)
	case t.last.kind == silent:
		far := t.hops[t.furthest()-1]
		return reach.Fail(checks.Timeout, checks.PhaseConnect, "no answer from %s; the last router that was heard is %v, hop %d", to, far.by, far.distance)
	case !t.whole() && c.once != "":
		return nil
	case !t.whole():
		f := reach.Fail(checks.Assertion, checks.PhaseAssert, "%s answers, from further than the %d hops that were looked at", to, len(t.hops))
		f.Verdict = checks.Degraded
		return f
	case c.limit > 0 && t.last.distance > c.limit:
		f := reach.Fail(checks.Assertion, checks.PhaseAssert, "%d hops to %s, more than %d", t.last.distance, to, c.limit)
		f.Verdict = checks.Degraded
		return f
	}
	return nil
}

// furthest is the number of the last hop that was heard; 0: none.
func (t trace) furthest() int {
	for i := len(t.hops); i > 0; i-- {
		if t.hops[i-1].kind == router {
			return i
		}
	}
	return 0
}

// news says in what a way differs from the one before, as far as both are known
// and one flow; empty: in nothing. A router that was silent is no news.
func (t trace) news(before trace) string {
	if !t.whole() || !before.whole() || t.to != before.to || t.port != before.port {
		return ""
	}
	for i := range min(len(t.hops), len(before.hops)) {
		now, was := t.hops[i].by, before.hops[i].by
		if now.IsValid() && was.IsValid() && now != was {
			return fmt.Sprintf("the path has changed: hop %d is %v, before %v", i+1, now, was)
		}
	}
	if t.last.distance != before.last.distance {
		return fmt.Sprintf("the path has changed: %d hops, before %d", t.last.distance, before.last.distance)
	}
	return ""
}

func (t trace) steps() (steps []checks.Step) {
	for _, h := range append(t.hops[:len(t.hops):len(t.hops)], t.last) {
		if h.distance == 0 && h.kind != denied {
			continue
		}
		s := checks.Step{Phase: checks.PhaseRoute, Name: fmt.Sprintf("hop %d", h.distance), Took: h.took, Detail: "says nothing"}
		switch h.kind {
		case router:
			s.Detail = h.by.String()
		case reached:
			s.Phase, s.Detail = checks.PhaseConnect, t.to.String()+" takes the connection"
		case refused:
			s.Phase, s.Detail = checks.PhaseConnect, t.to.String()+" refuses the connection"
		case denied:
			s.Detail = fmt.Sprintf("%v says: %v", h.by, h.err)
		case silent:
			s.Took = 0
		}
		steps = append(steps, s)
	}
	return steps
}
