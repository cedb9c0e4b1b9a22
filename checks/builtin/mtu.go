package builtin

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/internal/echo"
	"github.com/ginnel/ginnel/checks/reach"
)

// leastMTU is what every way must carry: the least of IPv6 (RFC 8200 5), from which
// RFC 8899 5.1.2 searches upwards.
const leastMTU = 1280

// MTU is the kind that finds the longest packet which comes through, there and
// back, by asking for echoes of packets that nobody may fragment (RFC 8899). What
// routers say of packets that are too long is no more than a hint.
func MTU() checks.Kind { return mtuKind(new(echo.Engine)) }

func mtuKind(engine *echo.Engine) checks.Kind {
	return checks.Kind{
		Name: "mtu",
		Doc:  "finds the longest packet that passes to a hub's overlay address, or to another host, and back",
		Schema: checks.Schema{
			"by":    {Type: "string", Doc: "what to ask for: udp, the echo of a hub or of another STAMP reflector; icmp where there is none", Default: "udp", Enum: []string{"udp", "icmp"}},
			"max":   {Type: "int", Doc: "the longest packet to try and to expect, bytes; 0: what the link carries", Default: 0, Min: new(0.0), Max: new(9000.0)},
			"tries": {Type: "int", Doc: "packets of a length, of which one must pass", Default: 3, Min: new(2.0), Max: new(10.0)},
			"wait":  {Type: "duration", Doc: "how long an answer may take", Default: "300ms", Min: new(0.01), Max: new(5.0)},
		},
		New:   func(t checks.Target) (checks.Check, error) { return newMTU(engine, t) },
		Close: engine.Close,
	}
}

type mtuCheck struct {
	engine *echo.Engine
	target checks.Target
	place  reach.Place
	max    int
	train  echo.Train
	wait   time.Duration
}

func newMTU(engine *echo.Engine, t checks.Target) (checks.Check, error) {
	p, err := reach.ParsePlace(t.Address, checks.EchoPort)
	if err != nil {
		return nil, err
	}
	c := &mtuCheck{engine: engine, target: t, place: p, max: t.IntOption("max"), wait: t.DurationOption("wait"),
		train: echo.Train{Count: t.IntOption("tries"), Gap: 10 * time.Millisecond, DF: true}}
	if t.StringOption("by") == "icmp" {
		c.place.Port = 0
	} else {
		c.train.Session = newSession()
	}
	if c.max != 0 && c.max < leastMTU {
		return nil, &checks.OptionError{Option: "max", Err: fmt.Errorf("%d is less than %d, which every way carries", c.max, leastMTU), Hint: "0 for what the link carries"}
	}
	return c, nil
}

func (c *mtuCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now()}
	w, err := reach.Find(ctx, c.target, c.place.Host)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseResolve, "resolving "+c.place.Host, err))
	}
	link, ok := w.MTU()
	if !ok {
		return reach.Asked(r, reach.Fail(checks.Unreachable, checks.PhaseRoute, "this host has no way to %v", w.To))
	}
	r.Path = w.Link()
	s := &mtuSearch{most: link, good: leastMTU,
		probe: func(size int) (echo.Outcome, error) { return c.probe(ctx, w, size) }}
	if c.max != 0 {
		s.most = min(link, c.max)
	}
	f := s.run(w.To.String())
	r.Steps = append([]checks.Step{w.Step(c.place.Host)}, s.steps...)
	r.Steps = append(r.Steps, checks.Step{Phase: checks.PhaseRoute, Name: "link " + r.Path, Detail: fmt.Sprintf("MTU %d", link)})
	if f != nil && f.Verdict != checks.Degraded {
		if f.Reason == checks.Timeout && ctx.Err() != nil {
			f = reach.FaultOf(ctx, checks.PhaseResponse, "looking for the longest packet to "+w.To.String(), ctx.Err())
		}
		return w.Told(reach.Asked(r, f))
	}
	r.Sent, r.Received = 1, 1
	if f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	if s.found {
		r.Values = []checks.Value{{Name: "path_mtu", Number: float64(s.good), Unit: "By"}}
	}
	r.Values = append(r.Values, checks.Value{Name: "link_mtu", Number: float64(link), Unit: "By"})
	return w.Told(r)
}

// probe sends a train of packets of one length, with their headers.
func (c *mtuCheck) probe(ctx context.Context, w reach.Way, size int) (echo.Outcome, error) {
	const udpOrICMP = 8
	headers := 20 + udpOrICMP
	if w.To.Is6() {
		headers = 40 + udpOrICMP
	}
	t := c.train
	t.To, t.From, t.Size = netip.AddrPortFrom(w.To, c.place.Port), w.From, size-headers
	t.Deadline = time.Now().Add(c.wait + time.Duration(t.Count)*t.Gap)
	outcomes := make(chan echo.Outcome, 1)
	c.engine.Begin(ctx, t, func(o echo.Outcome) { outcomes <- o })
	return <-outcomes, ctx.Err()
}
