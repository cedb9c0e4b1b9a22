package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/tunnels"
)

// oneToOne reads [[network.map]] of a network with these LAN prefixes.
func (t table) oneToOne(lans []netip.Prefix) (m tunnels.Map, ok bool) {
	t.only(mapKeys...)
	lan, as := t.one("lan", "a prefix of the network's lan"), t.one("as", "the prefix that the network knows it by, as in 100.64.120.0/24")
	if lan.IsValid() && !slices.Contains(lans, lan) {
		t.problem("lan", listOf(lans), "\"%v\" is not in the network's lan", lan)
		return m, false
	}
	if !lan.IsValid() || !as.IsValid() {
		return m, false
	}
	if as.Addr().Is4() != lan.Addr().Is4() {
		t.problem("as", "two prefixes of IPv4, or two of IPv6", "\"%v\" is not of the same version of IP as lan, %v", as, lan)
		return m, false
	}
	if as.Bits() != lan.Bits() {
		t.problem("as", fmt.Sprintf("address for address: %v", netip.PrefixFrom(as.Addr(), lan.Bits()).Masked()),
			"\"%v\" is not as long as lan, %v", as, lan)
		return m, false
	}
	t.takes("lan", t.listOf(), lan.String())
	t.claims("as", element{t.v.of["as"], join(t.path, "as")}, as)
	return tunnels.Map{LAN: lan, As: as}, true
}

// one reads a key with one prefix; it is not valid where there is none.
func (t table) one(key, hint string) (p netip.Prefix) {
	if t.v.of[key] == nil {
		t.missing(key, hint)
	}
	if _, ok := t.text(key, hint); !ok {
		return p
	}
	if q, ok := t.r.network(element{t.v.of[key], join(t.path, key)}); ok {
		p = q
	}
	return p
}

// listOf is prefixes for a hint.
func listOf(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}
