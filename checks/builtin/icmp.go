package builtin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// ICMP is the kind that sends a few echo requests and waits for the replies. It
// sends from a datagram socket where the kernel lets this group (sysctl
// net.ipv4.ping_group_range), else from a raw one, which takes CAP_NET_RAW.
func ICMP() checks.Kind {
	return checks.Kind{
		Name: "icmp",
		Doc:  "sends a burst of echo requests to a host; nothing important should rest on it, for networks drop them",
		Schema: checks.Schema{
			"count": {Type: "int", Doc: "echo requests in a run", Default: 3, Min: new(1.0), Max: new(20.0)},
			"gap":   {Type: "duration", Doc: "from one request to the next", Default: "50ms", Min: new(0.01), Max: new(2.0)},
			"size":  {Type: "int", Doc: "payload, bytes", Default: 56, Min: new(24.0), Max: new(1400.0)},
		},
		New: newICMP,
	}
}

type icmpCheck struct {
	target checks.Target
	host   string
	count  int
	gap    time.Duration
	size   int
}

func newICMP(t checks.Target) (checks.Check, error) {
	host := reach.TrimBrackets(t.Address)
	if !reach.IsHost(host) {
		return nil, fmt.Errorf("target %q is neither a name nor an address", t.Address)
	}
	c := &icmpCheck{target: t, host: host, count: t.IntOption("count"), gap: t.DurationOption("gap"), size: t.IntOption("size")}
	if burst := time.Duration(c.count-1) * c.gap; t.Timeout > 0 && burst >= t.Timeout {
		return nil, &checks.OptionError{Option: "count", Err: fmt.Errorf("%d requests %v apart take %v, the run ends after %v", c.count, c.gap, burst, t.Timeout),
			Hint: "fewer, closer together, or a longer timeout"}
	}
	return c, nil
}

func (c *icmpCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Start: time.Now()}
	w, err := reach.Find(ctx, c.target, c.host)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseResolve, "resolving "+c.host, err))
	}
	s, err := openEcho(w)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseRoute, "opening a socket to "+w.To.String(), err))
	}
	defer s.Close()
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	b := newBurst(c.count, c.size, nonce)
	err = c.exchange(ctx, s, b)
	return b.result(ctx, r.Start, w.To, s.lost(), err)
}

// exchange sends the burst and takes replies until all have come or ctx ends.
// The error is one of sending.
func (c *icmpCheck) exchange(ctx context.Context, s *echoSocket, b *burst) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	begin := time.Now()
	for i := range c.count {
		if err := s.send(b, i); err != nil {
			return err
		}
		if i == c.count-1 {
			break
		}
		// Late by what it is: the next is due by the clock, not after this one.
		if err := s.receive(ctx, b, begin.Add(time.Duration(i+1)*c.gap)); err != nil && !errors.Is(err, errAllHere) {
			return err
		}
		if wait(ctx, time.Until(begin.Add(time.Duration(i+1)*c.gap))) != nil {
			return nil
		}
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = begin.Add(cmp.Or(c.target.Timeout, 5*time.Second))
	}
	if err := s.receive(ctx, b, end); err != nil && !errors.Is(err, errAllHere) {
		return err
	}
	return nil
}

// wait lets d pass, or returns why ctx ended.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
