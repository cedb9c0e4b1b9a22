package tunnels

import (
	"fmt"
	"net/netip"
	"slices"
)

// AllSites is the word for every site's LAN in an Allow.
const AllSites = "sites"

// open sorts the allows of a network by the way that their connections take
// through this gateway. What is behind a site may open any connection, until an
// allow is from the sites; everything else has to be listed.
//
// A hub knows its own side from the sites' exactly. A site knows only what is
// its own: what is "sites" to it may be anywhere in the network, and the hub is
// there to say no.
func (f *Filter) open(n Network) {
	free := !slices.ContainsFunc(n.Allow, func(a Allow) bool { return a.From == AllSites })
	f.AnyIn, f.AnyOut = free && f.Role == Hub, free && f.Role != Hub
	if f.Role == Hub && n.EchoPort != 0 {
		f.Gateway = append(f.Gateway, Opening{To: maskedAll(n.Addresses), Ports: []string{fmt.Sprintf("udp/%d", n.EchoPort)}})
	}
	for _, a := range n.Allow {
		from, to := side(n, a.From), side(n, a.To)
		add := func(list *[]Opening, source, target []netip.Prefix) {
			*list = append(*list, Opening{source, target, slices.Clone(a.Ports)})
		}
		if from.far && to.near && !f.AnyIn && len(n.LAN) > 0 {
			add(&f.In, from.there, to.here)
		}
		if from.near && to.far && !f.AnyOut {
			add(&f.Out, from.here, to.there)
		}
		if from.far && to.far && f.Role == Hub {
			add(&f.Across, from.there, to.there)
		}
		if from.far && len(to.own) > 0 {
			add(&f.Gateway, from.there, to.own)
		}
	}
}

// sided is a prefix, or the word, as this gateway sees it.
type sided struct {
	near  bool           // some of it is our LAN:
	here  []netip.Prefix // this, as it is called there; none: all of it
	far   bool           // some of it is behind a tunnel:
	there []netip.Prefix // this; none: all
	own   []netip.Prefix // our addresses in it
}

// side tells where in a network a prefix or the word is.
func side(n Network, text string) (s sided) {
	if text == AllSites {
		return sided{near: n.Role != Hub, far: true}
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return s // config has refused it
	}
	s.far, s.there = true, []netip.Prefix{p.Masked()}
	for _, l := range n.LAN {
		m := n.mapOf(l)
		if m.As.Overlaps(p) {
			s.near, s.here = true, append(s.here, m.home(p))
		}
		s.far = s.far && !within(p, m.As)
	}
	if len(n.LAN) == 0 { // then all that comes in by the ingress is ours
		s.near, s.here = true, s.there
	}
	for _, a := range n.Addresses {
		if p.Contains(a.Addr()) {
			s.own = append(s.own, a.Masked())
		}
		s.far = s.far && !within(p, a)
	}
	return s
}

// mapOf is what the network calls a prefix of our LAN.
func (n Network) mapOf(lan netip.Prefix) Map {
	for _, m := range n.Map {
		if m.LAN.Masked() == lan.Masked() {
			return Map{m.LAN.Masked(), m.As.Masked()}
		}
	}
	return Map{lan.Masked(), lan.Masked()}
}

// home is what the LAN calls the part of it that the network calls p.
func (m Map) home(p netip.Prefix) netip.Prefix {
	if p.Bits() <= m.As.Bits() {
		return m.LAN
	}
	address, base := p.Masked().Addr().AsSlice(), m.LAN.Addr().AsSlice()
	for i := range address {
		keep := byte(0xff) >> min(max(m.LAN.Bits()-8*i, 0), 8) // bits of the host's part
		address[i] = address[i]&keep | base[i]&^keep
	}
	a, _ := netip.AddrFromSlice(address)
	return netip.PrefixFrom(a, p.Bits())
}

// within is true where p is a part of q.
func within(p, q netip.Prefix) bool { return p.Bits() >= q.Bits() && q.Overlaps(p) }
