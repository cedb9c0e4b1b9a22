package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Way is an address of the target, the address of ours to go there from, and
// how long it took to find out.
type Way struct {
	To       netip.Addr
	From     netip.Addr // not valid: the host's choice
	Resolved time.Duration
	Since    time.Time // of a name's address, where the resolver has not answered since then; else zero
}

// Find resolves host, and picks an address of a family that t.Source has. Only
// the first run that wants a name waits for the resolver; see names. There
// is no second try with another address: two checks would be honest. An error is
// a *Fault.
func Find(ctx context.Context, t checks.Target, host string) (Way, error) {
	begin := time.Now()
	var addrs []netip.Addr
	var since time.Time
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else if addrs, since, err = resolved.find(ctx, host); err != nil {
		return Way{}, told(err, checks.Step{Phase: checks.PhaseResolve, Name: "resolve " + host, Took: time.Since(begin)})
	}
	w := Way{Resolved: time.Since(begin), Since: since}
	for _, a := range addrs {
		w.To = a.Unmap()
		if len(t.Source) == 0 {
			return w, nil
		}
		for _, s := range t.Source {
			if s = s.Unmap(); s.Is4() == w.To.Is4() {
				w.From = s
				return w, nil
			}
		}
	}
	return Way{}, Ours(checks.NotRun, checks.PhaseRoute, "%s is %s, and this gateway has no such address in %s",
		host, Family(w.To), t.Network)
}

// told is a Fault with the steps that led to it: the last failed, and says how.
func told(err error, steps ...checks.Step) error {
	f, ok := errors.AsType[*Fault](err)
	if !ok {
		return err
	}
	with := *f // a name's is shared by all that wait for it
	with.Steps = steps
	with.Steps[len(steps)-1].Detail = strings.TrimSpace(f.Detail[strings.LastIndex(f.Detail, ": ")+1:]) // what was done is the step's name
	return &with
}

// Step tells how host was resolved, and whether by a resolver that is silent now.
func (w Way) Step(host string) checks.Step {
	s := checks.Step{Phase: checks.PhaseResolve, Name: "resolve " + host, Took: w.Resolved, Detail: w.To.String()}
	if !w.Since.IsZero() {
		s.Detail += w.Stale()
	}
	return s
}

// Stale says that the address is an old one, to be put behind it; empty: it is not.
func (w Way) Stale() string {
	if w.Since.IsZero() {
		return ""
	}
	return w.Since.Format(" (as of 15:04:05: the resolver has not answered since)")
}

// Told is r, which says as well when the address is an old one.
func (w Way) Told(r checks.Result) checks.Result {
	if stale := w.Stale(); stale != "" {
		r.Detail = strings.TrimSpace(r.Detail + stale)
	}
	return r
}

// Conn is a connection to a target, and what it took to get it.
type Conn struct {
	net.Conn
	Way
	Connected time.Duration
}

// Dial connects to p by "tcp" or "udp", from the address that the target is to be
// reached from. An error is a *Fault.
func Dial(ctx context.Context, t checks.Target, network string, p Place) (*Conn, error) {
	w, err := Find(ctx, t, p.Host)
	if err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(w.To, p.Port)
	dialer := net.Dialer{KeepAlive: -1}
	if w.From.IsValid() {
		from := netip.AddrPortFrom(w.From, 0)
		dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		if network == "udp" {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	begin := time.Now()
	conn, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, told(FaultOf(ctx, checks.PhaseConnect, "connecting to "+to.String()+w.Stale(), err), w.Step(p.Host),
			checks.Step{Phase: checks.PhaseConnect, Name: "connect " + to.String(), Took: time.Since(begin)})
	}
	return &Conn{conn, w, time.Since(begin)}, nil
}

// Connect tells of the connection.
func (c *Conn) Connect() checks.Step {
	return checks.Step{Phase: checks.PhaseConnect, Name: "connect " + c.RemoteAddr().String(), Took: c.Connected, Detail: "from " + c.LocalAddr().String()}
}

// Until makes conn's reads and writes end with ctx. The returned function ends
// the watch.
func Until(ctx context.Context, conn net.Conn) (stop func()) {
	if d, ok := ctx.Deadline(); ok {
		conn.SetDeadline(d)
	}
	end := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return func() { end() }
}

// Family tells IPv4 from IPv6 in words.
func Family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
