package builtin

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/internal/echo"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/ginnel/ginnel/checks/stamp"
)

// UDP is the kind that sends a train of test packets of STAMP (RFC 8762) to a
// reflector, as a hub is to its sites, inside the tunnel. A reflector that numbers
// its answers tells which way a loss was.
func UDP() checks.Kind { return udpKind(new(echo.Engine)) }

func udpKind(engine *echo.Engine) checks.Kind {
	return checks.Kind{
		Name: "udp",
		Doc:  "sends a train of test packets to a hub's overlay address, or to another STAMP reflector at host:port",
		Schema: checks.Schema{
			"count": {Type: "int", Doc: "packets in a run", Default: checks.EchoCount, Min: new(1.0), Max: new(100.0)},
			"gap":   {Type: "duration", Doc: "from one packet to the next; what a reflector takes at most is 200 a second", Default: "20ms", Min: new(0.01), Max: new(2.0)},
			"size":  {Type: "int", Doc: "of a packet without its UDP and IP headers, bytes", Default: 160, Min: new(float64(stamp.Size)), Max: new(1472.0)},
			"loss":  {Type: "int", Doc: "of a run's packets that may be lost without it being degraded", Default: 0, Min: new(0.0), Max: new(100.0)},
			"wait":  {Type: "duration", Doc: "an answer that takes longer is late, and counts as lost; not given: until the run ends", Min: new(0.001), Max: new(60.0)},
		},
		New:   func(t checks.Target) (checks.Check, error) { return newUDP(engine, t) },
		Close: engine.Close,
	}
}

type udpCheck struct {
	engine *echo.Engine
	target checks.Target
	place  reach.Place
	train  echo.Train // of a run, but for the addresses
	loss   int
	ways   ways
}

func newUDP(engine *echo.Engine, t checks.Target) (checks.Check, error) {
	p, err := reach.ParsePlace(t.Address, checks.EchoPort)
	if err != nil {
		return nil, err
	}
	c := &udpCheck{engine: engine, target: t, place: p, loss: t.IntOption("loss"), train: echo.Train{
		Count: t.IntOption("count"), Gap: t.DurationOption("gap"), Wait: t.DurationOption("wait"), Size: t.IntOption("size"),
		Session: newSession(), After: new(echo.After),
	}}
	if took := time.Duration(c.train.Count-1) * c.train.Gap; t.Timeout > 0 && took >= t.Timeout {
		return nil, &checks.OptionError{Option: "count", Err: fmt.Errorf("%d packets %v apart take %v, the run ends after %v", c.train.Count, c.train.Gap, took, t.Timeout),
			Hint: "fewer, closer together, or a longer timeout"}
	}
	return c, nil
}

// newSession is an identifier that the reflector keeps checks apart by.
func newSession() uint16 { return uint16(rand.IntN(1<<16-1)) + 1 }

// Run is Begin, waited for.
func (c *udpCheck) Run(ctx context.Context) checks.Result {
	results := make(chan checks.Result, 1)
	c.Begin(ctx, time.Time{}, func(r checks.Result) { results <- r })
	return <-results
}

// Begin sends the train.
func (c *udpCheck) Begin(ctx context.Context, deadline time.Time, done func(checks.Result)) {
	begin := func() {
		start := time.Now()
		w, err := reach.Find(ctx, c.target, c.place.Host)
		if err != nil {
			done(reach.Asked(checks.Result{Start: start}, reach.FaultOf(ctx, checks.PhaseResolve, "resolving "+c.place.Host, err)))
			return
		}
		t := c.train
		t.To, t.From, t.Deadline = netip.AddrPortFrom(w.To, c.place.Port), w.From, deadline
		if deadline.IsZero() && c.target.Timeout > 0 {
			t.Deadline = start.Add(c.target.Timeout)
		}
		link := w.Link()
		c.engine.Begin(ctx, t, func(o echo.Outcome) { done(c.result(o, w, link)) })
	}
	go begin() // it asks the kernel for the link, and perhaps a resolver for the name
}

// result says what an outcome means.
func (c *udpCheck) result(o echo.Outcome, w reach.Way, link string) checks.Result {
	r := o.Result(netip.AddrPortFrom(w.To, c.place.Port).String())
	r.Path = link
	r.Steps = []checks.Step{
		w.Step(c.place.Host),
		{Phase: checks.PhaseResponse, Name: fmt.Sprintf("%d packets of %d bytes", o.Sent, c.train.Size), Detail: fmt.Sprintf("%d answers", o.Received)},
	}
	l := c.ways.account(o, c.train.Session)
	if l.known {
		r.Values = append(r.Values, checks.Value{Name: "lost_there", Number: float64(l.there), Unit: "1"}, checks.Value{Name: "lost_back", Number: float64(l.back), Unit: "1"})
		r.Steps = append(r.Steps, checks.Step{Phase: checks.PhaseResponse, Name: "ways", Detail: l.String()})
	}
	lost := r.Sent - r.Received
	switch {
	case r.Verdict != checks.Degraded || r.Reason != checks.Loss:
	case lost <= c.loss:
		r.Verdict, r.Reason, r.Phase, r.Detail = checks.OK, checks.NoReason, checks.NoPhase, ""
	case l.known && l.there+l.back > 0:
		r.Detail += "; since the last answer before: " + l.String()
	}
	return w.Told(r)
}
