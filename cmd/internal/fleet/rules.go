package fleet

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/agent/config"
)

// networks holds the networks together: each has hubs that answer for it, and an
// overlay of its own.
func (r *reading) networks() {
	r.literal = r.literals()
	for i, n := range r.Networks {
		for j, name := range n.Hubs {
			h, ok := r.hubAt[name]
			if !ok {
				n.table.ProblemAt("hubs", j, config.Among(name, r.hubNames()), "there is no hub %s", config.Show(name))
				continue
			}
			if _, said := r.Hubs[h].Endpoints[n.Name]; !said {
				r.Hubs[h].table.Problem("endpoints", fmt.Sprintf(`endpoints.%s = ["%s.example.net:51820"]`, n.Name, name),
					"does not say where %s answers for %s", name, n.Name)
			}
		}
		r.claimed(n.MayCover, n.Overlay, func(hint, message string) { n.table.Problem("overlay", hint, "%s", message) })
		for _, m := range r.Networks[:i] {
			if n.Overlay.IsValid() && m.Overlay.IsValid() && n.Overlay.Overlaps(m.Overlay) {
				n.table.Problem("overlay", "each network has an overlay of its own", "%v overlaps that of %s, %v", n.Overlay, m.Name, m.Overlay)
			}
		}
	}
}

func (f *Fleet) hubNames() []string { return names(f.hubAt) }

// hubs holds the hubs together: what is behind one is of one network, and so is
// a port.
func (r *reading) hubs() {
	for _, h := range r.Hubs {
		lans, ok := h.table.Table("lan")
		if !ok {
			lans = h.table
		}
		ends, ok := h.table.Table("endpoints")
		if !ok {
			ends = h.table
		}
		ports := map[int]string{}
		for _, n := range r.Networks {
			serves := slices.Contains(n.Hubs, h.Name)
			if _, said := h.Endpoints[n.Name]; said && !serves {
				ends.Problem(n.Name, fmt.Sprintf("list it in hubs of network.%s, or take this out", n.Name), "%s is no hub of %s", h.Name, n.Name)
			} else if _, said := h.LAN[n.Name]; said && !serves {
				lans.Problem(n.Name, fmt.Sprintf("list it in hubs of network.%s, or take this out", n.Name), "%s is no hub of %s", h.Name, n.Name)
			}
			if first, taken := ports[h.Port[n.Name]]; taken && h.Port[n.Name] != 0 {
				ends.Problem(n.Name, "a port for each network", "port %d is that of %s as well", h.Port[n.Name], first)
			}
			ports[h.Port[n.Name]] = n.Name
			for i, p := range h.LAN[n.Name] {
				r.hubLAN(h, n, lans, i, p)
			}
		}
	}
}

// hubLAN judges one prefix behind a hub.
func (r *reading) hubLAN(h Hub, n Network, lans config.Table, i int, p netip.Prefix) {
	say := func(hint, format string, args ...any) { lans.ProblemAt(n.Name, i, hint, format, args...) }
	r.claimed(n.MayCover, p, func(hint, message string) { say(hint, "%s", message) })
	for _, m := range r.Networks {
		if m.Overlay.IsValid() && p.Overlaps(m.Overlay) {
			say("list only what is behind the hub", "%v overlaps the overlay of %s, %v", p, m.Name, m.Overlay)
			return
		}
		if m.Name == n.Name {
			return // those behind it have this one to be compared with
		}
		for _, q := range h.LAN[m.Name] {
			if p.Overlaps(q) {
				say("part the prefixes, or give one network another hub", "%v overlaps %v of %s, behind the same hub", p, q, m.Name)
				return
			}
		}
	}
}

// claimed tells what no network may cover and this prefix does.
func (r *reading) claimed(may []string, p netip.Prefix, say func(hint, message string)) {
	if !p.IsValid() {
		return
	}
	// The same rules, and words, as on a gateway.
	one := &config.Config{Networks: []config.Network{{MayCover: may, Hubs: []config.Hub{{Peer: config.Peer{AllowedIPs: []netip.Prefix{p}}}}}}}
	for _, c := range config.HostCollisions(one, config.HostFacts{Protected: r.Protected, Endpoints: r.literal}) {
		say("no network may cover it; may_cover lets one, by name", c.Message)
	}
}

// literals are the endpoints of hubs that are addresses and not names.
func (r *reading) literals() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, h := range r.Hubs {
		for _, list := range h.Endpoints {
			for _, e := range list {
				host, _, _ := net.SplitHostPort(e)
				if a, err := netip.ParseAddr(host); err == nil {
					all[e] = []netip.Addr{a}
				}
			}
		}
	}
	return all
}

// piece is a prefix that one site has of a network.
type piece struct {
	prefix netip.Prefix
	site   *Site
	lan    LAN
	column string // "lan", or "as" where the network knows it by that
}

// lans holds the sites' LANs of each network together.
func (r *reading) lans() {
	for i := range r.Networks {
		n := &r.Networks[i]
		var all []piece
		for _, m := range r.members[n.Name] {
			for _, l := range m.lans {
				p := piece{prefix: l.Known(), site: m.site, lan: l, column: "lan"}
				if l.As.IsValid() {
					p.column = "as"
				}
				if r.fitsNetwork(n, p) {
					all = append(all, p)
				}
			}
		}
		r.apart(n, all)
	}
	for i := range r.Sites {
		r.oneWay(&r.Sites[i])
	}
}

// fitsNetwork compares a LAN with what the network has in its middle.
func (r *reading) fitsNetwork(n *Network, p piece) bool {
	bad := func(column, hint, format string, args ...any) bool {
		r.problem(attachmentsFile, p.lan.line, column, hint, format, args...)
		return false
	}
	for _, name := range n.Hubs {
		h, ok := r.hubAt[name]
		if !ok {
			continue
		}
		for _, q := range r.Hubs[h].LAN[n.Name] {
			if p.lan.Prefix.Overlaps(q) {
				return bad("lan", "the site could not reach it: one of the two wants another prefix", "%v overlaps %v, which is behind %s in %s", p.lan.Prefix, q, name, n.Name)
			}
			if p.prefix.Overlaps(q) {
				return bad("as", r.freeHint(n, p.prefix.Bits(), ""), "%v overlaps %v, which is behind %s in %s", p.prefix, q, name, n.Name)
			}
		}
	}
	switch {
	case !n.Overlay.IsValid():
	case p.lan.Prefix.Overlaps(n.Overlay):
		return bad("lan", "", "%v overlaps the overlay of %s, %v", p.lan.Prefix, n.Name, n.Overlay)
	case p.column == "as" && !within(p.prefix, n.Overlay):
		return bad("as", r.freeHint(n, p.prefix.Bits(), ""), "%v is not within the overlay of %s, %v", p.prefix, n.Name, n.Overlay)
	}
	good := true
	r.claimed(append(slices.Clone(n.MayCover), p.lan.MayCover...), p.prefix, func(hint, message string) { good = bad(p.column, hint, "%s", message) })
	return good
}

func within(p, in netip.Prefix) bool { return p.Bits() >= in.Bits() && in.Contains(p.Addr()) }

// apart tells the LANs that two sites of one network have.
func (r *reading) apart(n *Network, all []piece) {
	slices.SortStableFunc(all, func(x, y piece) int {
		return cmp.Or(x.prefix.Addr().Compare(y.prefix.Addr()), cmp.Compare(x.prefix.Bits(), y.prefix.Bits()), cmp.Compare(x.lan.line, y.lan.line))
	})
	var around []piece
	for _, p := range all {
		around = slices.DeleteFunc(around, func(o piece) bool { return !o.prefix.Overlaps(p.prefix) })
		if len(around) == 0 {
			around = append(around, p)
			continue
		}
		later, earlier := p, around[len(around)-1]
		if later.lan.line < earlier.lan.line {
			later, earlier = earlier, later
		}
		hint := r.freeHint(n, later.prefix.Bits(), "fill `as` for one of them; ")
		if later.column == "as" {
			hint = r.freeHint(n, later.prefix.Bits(), "")
		}
		if later.prefix == earlier.prefix {
			r.problem(attachmentsFile, later.lan.line, later.column, hint, "%v is in %s twice (%s, %s)", later.prefix, n.Name, earlier.site.ID, later.site.ID)
			continue // the first stands for both
		}
		r.problem(attachmentsFile, later.lan.line, later.column, hint, "%v overlaps %v of %s in %s", later.prefix, earlier.prefix, earlier.site.ID, n.Name)
		around = append(around, p)
	}
}

// oneWay tells networks of one site that want the same packets.
func (r *reading) oneWay(s *Site) {
	for i := range s.Attachments {
		for j := range i {
			a, b := &s.Attachments[i], &s.Attachments[j]
			from, same := sharedLAN(a, b)
			if !same {
				continue
			}
			if p, q, clash := r.clash(a.Network, b.Network); clash {
				r.problem(attachmentsFile, max(a.line, b.line), "network", "a packet must belong to one network: part the prefixes behind the hubs, or the LANs",
					"%s and %s both have %v for traffic from %v of %s", b.Network, a.Network, narrower(p, q), from, s.ID)
			}
		}
	}
}

// sharedLAN is a prefix whose traffic may enter both networks.
func sharedLAN(a, b *Attachment) (netip.Prefix, bool) {
	for _, l := range a.LANs {
		for _, m := range b.LANs {
			if l.Prefix.Overlaps(m.Prefix) {
				return narrower(l.Prefix, m.Prefix), true
			}
		}
	}
	return netip.Prefix{}, false
}

func narrower(p, q netip.Prefix) netip.Prefix {
	if p.Bits() > q.Bits() {
		return p
	}
	return q
}

// clash finds prefixes behind the hubs of two networks that overlap.
func (f *Fleet) clash(one, two string) (p, q netip.Prefix, _ bool) {
	for _, p := range f.behindHubs(one) {
		for _, q := range f.behindHubs(two) {
			if p.Overlaps(q) {
				return p, q, true
			}
		}
	}
	return p, q, false
}

// behindHubs are the LANs of a network's hubs.
func (f *Fleet) behindHubs(network string) []netip.Prefix {
	var all []netip.Prefix
	for _, name := range f.network(network).Hubs {
		if h, ok := f.hubAt[name]; ok {
			all = append(all, f.Hubs[h].LAN[network]...)
		}
	}
	return all
}
