package builtin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// place is where a check goes: a host, which may be a name, and a port.
type place struct {
	host string
	port uint16
}

func (p place) String() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

// parsePlace reads "host:port". A port of 0 in usual means that one must be
// given.
func parsePlace(address string, usual uint16) (place, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if bare := trimBrackets(address); usual != 0 && isHost(bare) {
			return place{bare, usual}, nil
		}
		return place{}, fmt.Errorf("target %q is not host:port", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return place{}, fmt.Errorf("target %q: port %q is not in 1 to 65535", address, port)
	}
	if !isHost(host) {
		return place{}, fmt.Errorf("target %q: %q is neither a name nor an address", address, host)
	}
	return place{host, uint16(n)}, nil
}

func trimBrackets(s string) string {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		return s[1 : len(s)-1]
	}
	return s
}

// isHost says whether s is an address, or may be a name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for _, c := range []byte(s) {
		ok := c == '.' || c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !ok {
			return false
		}
	}
	return true
}

// way is an address of the target, the address of ours to go there from, and
// how long it took to find out.
type way struct {
	to       netip.Addr
	from     netip.Addr // not valid: the host's choice
	resolved time.Duration
}

// find resolves host, and picks an address of a family that t.Source has.
// There is no second try with another address: two checks would be honest.
func find(ctx context.Context, t checks.Target, host string) (way, error) {
	begin := time.Now()
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else if addrs, err = lookup(ctx, host); err != nil {
		return way{}, err
	}
	w := way{resolved: time.Since(begin)}
	for _, a := range addrs {
		w.to = a.Unmap()
		if len(t.Source) == 0 {
			return w, nil
		}
		for _, s := range t.Source {
			if s = s.Unmap(); s.Is4() == w.to.Is4() {
				w.from = s
				return w, nil
			}
		}
	}
	return way{}, ours(checks.NotRun, checks.PhaseRoute, "%s is %s, and this gateway has no such address in %s",
		host, familyOf(w.to), t.Network)
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := net.Resolver{PreferGo: true}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	switch e, isDNS := errors.AsType[*net.DNSError](err); {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, ours(checks.NotRun, checks.PhaseResolve, "resolving %s: broken off", host)
	case isDNS && e.IsNotFound:
		return nil, fail(checks.NotResolved, checks.PhaseResolve, "%s: no such name", host)
	case err != nil:
		return nil, fail(checks.NotResolved, checks.PhaseResolve, "%s: the resolver did not answer", host)
	case len(addrs) == 0:
		return nil, fail(checks.NotResolved, checks.PhaseResolve, "%s has no address", host)
	}
	return addrs, nil
}

// link is a connection to a target, and what it took to get it.
type link struct {
	net.Conn
	way
	connected time.Duration
}

// dial connects to a place by "tcp" or "udp".
func dial(ctx context.Context, t checks.Target, network string, p place) (*link, error) {
	w, err := find(ctx, t, p.host)
	if err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(w.to, p.port)
	dialer := net.Dialer{KeepAlive: -1}
	if w.from.IsValid() {
		from := netip.AddrPortFrom(w.from, 0)
		dialer.LocalAddr = net.TCPAddrFromAddrPort(from)
		if network == "udp" {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	begin := time.Now()
	conn, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, faultOf(ctx, checks.PhaseConnect, "connecting to "+to.String(), err)
	}
	return &link{conn, w, time.Since(begin)}, nil
}

// until makes conn's reads and writes end with ctx. The returned function ends
// the watch.
func until(ctx context.Context, conn net.Conn) (stop func()) {
	if d, ok := ctx.Deadline(); ok {
		conn.SetDeadline(d)
	}
	end := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return func() { end() }
}
