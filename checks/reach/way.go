package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Way is an address of the target, the address of ours to go there from, and
// how long it took to find out.
type Way struct {
	To       netip.Addr
	From     netip.Addr // not valid: the host's choice
	Resolved time.Duration
}

// Find resolves host, and picks an address of a family that t.Source has. There
// is no second try with another address: two checks would be honest. An error is
// a *Fault.
func Find(ctx context.Context, t checks.Target, host string) (Way, error) {
	begin := time.Now()
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else if addrs, err = lookup(ctx, host); err != nil {
		return Way{}, err
	}
	w := Way{Resolved: time.Since(begin)}
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

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := net.Resolver{PreferGo: true}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	switch e, isDNS := errors.AsType[*net.DNSError](err); {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, Ours(checks.NotRun, checks.PhaseResolve, "resolving %s: broken off", host)
	case isDNS && e.IsNotFound:
		return nil, Fail(checks.NotResolved, checks.PhaseResolve, "%s: no such name", host)
	case err != nil:
		return nil, Fail(checks.NotResolved, checks.PhaseResolve, "%s: the resolver did not answer", host)
	case len(addrs) == 0:
		return nil, Fail(checks.NotResolved, checks.PhaseResolve, "%s has no address", host)
	}
	return addrs, nil
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
		return nil, FaultOf(ctx, checks.PhaseConnect, "connecting to "+to.String(), err)
	}
	return &Conn{conn, w, time.Since(begin)}, nil
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
