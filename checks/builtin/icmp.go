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

// ICMP is the kind that sends a few echo requests and waits for the replies. It
// sends from a datagram socket where the kernel lets this group (sysctl
// net.ipv4.ping_group_range), else from a raw one, which takes CAP_NET_RAW. All
// checks of it share one for each family and source.
func ICMP() checks.Kind { return icmpKind(new(echo.Engine)) }

func icmpKind(engine *echo.Engine) checks.Kind {
	return checks.Kind{
		Name: "icmp",
		Doc:  "sends a burst of echo requests to a host; nothing important should rest on it, for networks drop them",
		Schema: checks.Schema{
			"count": {Type: "int", Doc: "echo requests in a run", Default: 3, Min: new(1.0), Max: new(20.0)},
			"df":    {Type: "bool", Doc: "let nobody fragment a request", Default: false},
			"gap":   {Type: "duration", Doc: "from one request to the next", Default: "50ms", Min: new(0.01), Max: new(2.0)},
			"size":  {Type: "int", Doc: "payload, bytes", Default: 56, Min: new(24.0), Max: new(1472.0)},
			"ttl":   {Type: "int", Doc: "routers that a request may pass, plus one; not given: the host's", Min: new(1.0), Max: new(255.0)},
			"wait":  {Type: "duration", Doc: "a reply that takes longer is late, and counts as lost; not given: until the run ends", Min: new(0.001), Max: new(60.0)},
		},
		New:   func(t checks.Target) (checks.Check, error) { return newICMP(engine, t) },
		Close: engine.Close,
	}
}

type icmpCheck struct {
	engine *echo.Engine
	target checks.Target
	host   string
	train  echo.Train // of a run, but for the address
	route  reach.RouteBeside
}

func newICMP(engine *echo.Engine, t checks.Target) (checks.Check, error) {
	host := reach.TrimBrackets(t.Address)
	if !reach.IsHost(host) {
		return nil, fmt.Errorf("target %q is neither a name nor an address", t.Address)
	}
	c := &icmpCheck{engine: engine, target: t, host: host, train: echo.Train{
		Count: t.IntOption("count"), Gap: t.DurationOption("gap"), Wait: t.DurationOption("wait"),
		Size: t.IntOption("size"), TTL: t.IntOption("ttl"), DF: t.BoolOption("df"), After: new(echo.After),
	}}
	if burst := time.Duration(c.train.Count-1) * c.train.Gap; t.Timeout > 0 && burst >= t.Timeout {
		return nil, &checks.OptionError{Option: "count", Err: fmt.Errorf("%d requests %v apart take %v, the run ends after %v", c.train.Count, c.train.Gap, burst, t.Timeout),
			Hint: "fewer, closer together, or a longer timeout"}
	}
	return c, nil
}

// Run is Begin, waited for.
func (c *icmpCheck) Run(ctx context.Context) checks.Result {
	results := make(chan checks.Result, 1)
	c.Begin(ctx, time.Time{}, func(r checks.Result) { results <- r })
	return <-results
}

// Begin sends the burst. Only a name takes a goroutine, until it is resolved.
func (c *icmpCheck) Begin(ctx context.Context, deadline time.Time, done func(checks.Result)) {
	begin := func() {
		start := time.Now()
		w, err := reach.Find(ctx, c.target, c.host)
		if err != nil {
			done(reach.Asked(checks.Result{Start: start}, reach.FaultOf(ctx, checks.PhaseResolve, "resolving "+c.host, err)))
			return
		}
		t := c.train
		t.To, t.From, t.Deadline = netip.AddrPortFrom(w.To, 0), w.From, deadline
		if deadline.IsZero() && c.target.Timeout > 0 {
			t.Deadline = start.Add(c.target.Timeout)
		}
		link := c.link(w)
		c.engine.Begin(ctx, t, func(o echo.Outcome) { done(c.result(o, w, link)) })
	}
	if _, err := netip.ParseAddr(c.host); err != nil {
		go begin()
		return
	}
	begin()
}

// link is that by which requests leave. A thousand checks on a clock do not ask the
// kernel each time.
func (c *icmpCheck) link(w reach.Way) string {
	if c.target.OneShot {
		return w.Link()
	}
	return c.route.Link(w)
}

// result says what an outcome means.
func (c *icmpCheck) result(o echo.Outcome, w reach.Way, link string) checks.Result {
	r := o.Result(w.To.String())
	r.Path = link
	if c.target.OneShot || w.To.String() != c.host {
		r.Steps = []checks.Step{w.Step(c.host), {Phase: checks.PhaseResponse, Name: fmt.Sprintf("%d requests of %d bytes", o.Sent, c.train.Size),
			Detail: fmt.Sprintf("%d replies", o.Received)}}
	}
	return w.Told(r)
}
