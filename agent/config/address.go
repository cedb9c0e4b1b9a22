package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// prefixes reads a list of network prefixes. Each one is named that is none,
// that has host bits, that nobody may route into a network, or that is listed
// twice.
func (t table) prefixes(key string) []netip.Prefix {
	var list []netip.Prefix
	first := map[netip.Prefix]string{}
	for _, e := range t.strings(key, "") {
		p, ok := t.r.network(e)
		if !ok {
			continue
		}
		if before, twice := first[p]; twice {
			t.r.problem(e.at, e.path, "the first is "+before, "%s is listed twice", show(e.text))
			continue
		}
		first[p] = e.path
		list = append(list, p)
		t.claims(key, e, p)
	}
	return list
}

// network is an element that is a prefix which a network may carry.
func (r *reader) network(e element) (netip.Prefix, bool) {
	p, ok := r.prefix(e)
	if !ok || !r.allowed(e, p) {
		return p, false
	}
	if p != p.Masked() {
		r.problem(e.at, e.path, fmt.Sprintf("%v is the network, %v the host", p.Masked(), host(p.Addr())),
			"%s has bits set beyond /%d", show(e.text), p.Bits())
		return p, false
	}
	return p, true
}

// addresses reads our own addresses inside a tunnel: one /32 or /128 each.
func (t table) addresses(key string) []netip.Prefix {
	var list []netip.Prefix
	for _, e := range t.strings(key, "") {
		p, ok := t.r.prefix(e)
		if !ok || !t.r.allowed(e, host(p.Addr())) {
			continue
		}
		if !p.IsSingleIP() {
			t.r.problem(e.at, e.path, fmt.Sprintf("%v is the address; what is behind the tunnel is in allowed_ips", host(p.Addr())),
				"%s is not one address", show(e.text))
			continue
		}
		list = append(list, p)
		t.claims(key, e, p)
	}
	return list
}

func (t table) claims(field string, e element, p netip.Prefix) {
	t.r.claims = append(t.r.claims, claim{prefix: p, field: field, owner: t.path, path: e.path, at: e.at})
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// prefix parses an element, whatever its bits beyond the length.
func (r *reader) prefix(e element) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(e.text)
	if err == nil && !p.Addr().Is4In6() {
		return p, true
	}
	hint := "an address, a slash and a length, as in 198.51.100.0/24"
	if a, err := netip.ParseAddr(e.text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		r.problem(e.at, e.path, host(a).String(), "%s has no length", show(e.text))
		return p, false
	}
	if err == nil && p.Bits() >= 96 {
		hint = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).String()
	}
	r.problem(e.at, e.path, hint, "%s is not a prefix", show(e.text))
	return p, false
}

// The widest prefixes that a network may carry: wider ones are the default
// route in halves or quarters.
const (
	widest4 = 8
	widest6 = 16
)

// allowed refuses the default route and what is never routed.
func (r *reader) allowed(e element, p netip.Prefix) bool {
	widest := widest4
	if p.Addr().Is6() {
		widest = widest6
	}
	const hint = "name the prefixes one by one; the site's own internet stays where it is"
	a := p.Addr()
	switch {
	case p.Bits() == 0:
		r.problem(e.at, e.path, hint, "%s is the default route, which is never ours", show(e.text))
	case p.Bits() < widest:
		r.problem(e.at, e.path, hint, "%s is wider than /%d, the widest that a network may carry", show(e.text), widest)
	case a.IsMulticast(), a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsUnspecified(),
		a.Is4() && a.As4()[0] == 0, a.Is4() && a.As4()[0] >= 240, a.Is4() && a.As4()[0] == 127:
		r.problem(e.at, e.path, "", "%s is not routed between hosts", show(e.text))
	default:
		return true
	}
	return false
}

// endpoint checks "host:port".
func (r *reader) endpoint(e element) bool {
	bad := func(hint, format string, args ...any) bool {
		r.problem(e.at, e.path, hint, "%s "+format, append([]any{show(e.text)}, args...)...)
		return false
	}
	const form = "host:port, as in hub-north.example.net:51820"
	i := strings.LastIndexByte(e.text, ':')
	if i < 0 {
		return bad(shorten(e.text)+":51820", "has no port")
	}
	name, port := e.text[:i], e.text[i+1:]
	if a, err := netip.ParseAddr(e.text); err == nil && a.Is6() {
		return bad(fmt.Sprintf("[%v]:51820", a), "has no port, or no brackets")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '+' {
		return bad(form, "has no port between 1 and 65535")
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !a.Is6() || !strings.HasSuffix(inner, "]") || a.Is4In6() {
			return bad("[2001:db8::1]:51820", "has no IPv6 address in the brackets")
		}
		return usable(a) || bad("", "is an address that no hub can have")
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return usable(a) || bad("", "is an address that no hub can have")
	}
	if why := hostname(name); why != "" {
		return bad(form, "%s", why)
	}
	return true
}

func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast()
}

// hostname says what is wrong with a DNS name; empty: nothing.
func hostname(name string) string {
	if name == "" {
		return "has no host"
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(name) > 253 {
		return "has a host longer than 253 characters"
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "has a host that is neither a name nor an address"
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "has a host that is neither a name nor an address"
	}
	return ""
}
