package config

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/ginnel/ginnel/tunnels"
)

// allow reads [[network.allow]].
func (t table) allow() tunnels.Allow {
	t.only(allowKeys...)
	a := tunnels.Allow{From: t.side("from"), To: t.side("to")}
	t.oneVersion("to", a.To, a.From)
	for _, e := range t.strings("ports", "") {
		if !port(e.text) {
			t.r.problem(e.at, e.path, "tcp/443, udp/53 or icmp", "%s is not a port", show(e.text))
			continue
		}
		a.Ports = append(a.Ports, e.text)
	}
	return a
}

const sites = "sites" // the LANs of every site

// oneVersion names two prefixes that no packet can have both.
func (t table) oneVersion(key, one, other string) {
	p, err := netip.ParsePrefix(one)
	q, err2 := netip.ParsePrefix(other)
	if err == nil && err2 == nil && p.Addr().Is4() != q.Addr().Is4() {
		t.problem(key, "an allow for each version of IP", "%v and %v are not of one version of IP", p, q)
	}
}

func (t table) side(name string) string {
	s, ok := t.text(name, "")
	if t.v.of[name] == nil {
		t.missing(name, `a prefix, or "sites"`)
	}
	if !ok || s == sites {
		return s
	}
	e := element{t.v.of[name], join(t.path, name)}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		if a, err := netip.ParseAddr(s); err == nil {
			t.problem(name, host(a).String(), "%s has no length", show(s))
			break
		}
		t.problem(name, `a prefix, or "sites"`, "%s is neither a prefix nor \"sites\"", show(s))
	case !t.r.allowed(e, p):
	case p != p.Masked():
		t.problem(name, fmt.Sprintf("%v is the network, %v the host", p.Masked(), host(p.Addr())),
			"%s has bits set beyond /%d", show(s), p.Bits())
	}
	return s
}

func port(s string) bool {
	if s == "icmp" {
		return true
	}
	proto, number, ok := strings.Cut(s, "/")
	n := 0
	for _, c := range number {
		if c < '0' || c > '9' || n > math.MaxUint16 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return ok && (proto == "tcp" || proto == "udp") && n >= 1 && n <= math.MaxUint16
}
