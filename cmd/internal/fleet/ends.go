package fleet

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/tunnels"
)

const anySite = "sites" // in an allow: the LANs of every site

// site writes the config of a site's gateway.
func (c *compiling) site(s *Site) {
	for i := range s.Attachments {
		a := &s.Attachments[i]
		c.attachment(c.f.network(a.Network), c.f.memberAt[end{c.g.Name, a.Network}])
	}
	c.checks(func(k Check) bool { return c.f.chooses(k, s) })
}

// attachment writes one network of a site's gateway.
func (c *compiling) attachment(n *Network, m *member) {
	if _, ok := c.f.KeyOf(c.g.Name, n.Name); !ok {
		c.wait(n.Name, "", c.g.Name)
		return
	}
	var hubs []*Hub
	for _, name := range m.hubs(n) {
		if _, ok := c.f.KeyOf(name, n.Name); ok {
			hubs = append(hubs, &c.f.Hubs[c.f.hubAt[name]])
		} else {
			c.wait(n.Name, name, name)
		}
	}
	if len(hubs) == 0 {
		return
	}
	places := []string{at(attachmentsFile, m.att.line)}
	var lan []netip.Prefix
	for _, l := range m.lans {
		lan = append(lan, l.Prefix)
		if l.line != m.att.line {
			places = append(places, at(attachmentsFile, l.line))
		}
	}
	c.network(n, tunnels.Site, lan)
	for _, l := range m.lans {
		if l.As.IsValid() {
			c.head("network.map")
			c.put("lan", l.Prefix)
			c.put("as", l.As)
		}
	}
	others := c.f.otherSites(n, m)
	for _, h := range hubs {
		c.toHub(n, h, others)
		places = append(places, at(tomlFile, h.table.Line("")))
	}
	c.allow(n, m.concerns)
	places = append(places, at(tomlFile, n.table.Line("")))
	c.where(n.Name, append(places, c.f.kept(end{c.g.Name, n.Name})...)...)
}

// hubs are those that it calls, the preferred one first.
func (m *member) hubs(n *Network) []string {
	if len(m.att.Hubs) > 0 {
		return m.att.Hubs
	}
	return n.Hubs
}

// toHub writes one [[network.hub]] of a site's gateway.
func (c *compiling) toHub(n *Network, h *Hub, others []netip.Prefix) {
	k, _ := c.f.KeyOf(h.Name, n.Name)
	c.head("network.hub")
	c.put("name", h.Name)
	c.put("public_key", k.Public)
	c.put("endpoints", h.Endpoints[n.Name])
	c.put("allowed_ips", slices.Concat([]netip.Prefix{c.f.address[end{h.Name, n.Name}]}, h.LAN[n.Name], others))
	c.device(n.Name, h.Name)
}

// concerns says whether a side of an allow is, or has in it, what the gateway
// brings to the network or its address there.
func (m *member) concerns(side string) bool {
	if side == anySite {
		return true
	}
	p, err := netip.ParsePrefix(side)
	return err == nil && (p.Overlaps(m.address) || slices.ContainsFunc(m.lans, func(l LAN) bool { return l.Known().Overlaps(p) }))
}

// otherSites is what a gateway accepts of the network's other sites: those that
// an allow lets it open connections to, or be called from.
func (f *Fleet) otherSites(n *Network, m *member) []netip.Prefix {
	var list []netip.Prefix
	for _, a := range n.Allow {
		if m.concerns(a.From) {
			list = append(list, f.sitesWithin(n, m, a.To)...)
		}
		if m.concerns(a.To) {
			list = append(list, f.sitesWithin(n, m, a.From)...)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// sitesWithin are the prefixes of the other sites that a side of an allow means.
func (f *Fleet) sitesWithin(n *Network, m *member, side string) []netip.Prefix {
	var list []netip.Prefix
	p, err := netip.ParsePrefix(side)
	if err == nil && f.behindHub(n, p) {
		return nil
	}
	for _, o := range f.members[n.Name] {
		if o.site == m.site {
			continue
		}
		for _, l := range o.lans {
			if side == anySite || err == nil && l.Known().Overlaps(p) {
				list = append(list, l.Known())
			}
		}
		if side != anySite && err == nil && p.Overlaps(o.address) {
			list = append(list, o.address)
		}
	}
	return list
}

// behindHub says whether a prefix is wholly behind a hub of the network, or a
// hub's own address.
func (f *Fleet) behindHub(n *Network, p netip.Prefix) bool {
	for _, name := range n.Hubs {
		if f.address[end{name, n.Name}] == p {
			return true
		}
	}
	return slices.ContainsFunc(f.behindHubs(n.Name), func(q netip.Prefix) bool { return within(p, q) })
}

// kept are the rows of the key and the address of a gateway in a network.
func (f *Fleet) kept(e end) []string {
	var places []string
	if r := f.addressRow[e]; r != nil {
		places = append(places, at(addressesFile, r.line))
	}
	if r := f.keys[e]; r != nil && r.line > 0 {
		places = append(places, at(keysFile, r.line))
	}
	return places
}

// hub writes the config of a hub.
func (c *compiling) hub(h *Hub) {
	for _, name := range c.g.Networks {
		n := c.f.network(name)
		if _, ok := c.f.KeyOf(h.Name, n.Name); !ok {
			c.wait(n.Name, "", h.Name)
			continue
		}
		c.network(n, tunnels.Hub, h.LAN[n.Name])
		c.put("listen_port", cmp.Or(h.Port[n.Name], 51820))
		c.device(n.Name, "")
		places := []string{at(tomlFile, n.table.Line("")), at(tomlFile, h.table.Line(""))}
		c.where(n.Name, append(places, c.f.kept(end{h.Name, n.Name})...)...)
		members := slices.Clone(c.f.members[n.Name])
		slices.SortFunc(members, func(a, b *member) int { return cmp.Compare(a.gateway, b.gateway) })
		for _, m := range members {
			if slices.Contains(m.hubs(n), h.Name) {
				c.toSite(n, m)
			}
		}
		c.allow(n, func(string) bool { return true })
	}
	c.checks(func(k Check) bool { return k.OnHub })
}

// toSite writes one [[network.site]] of a hub.
func (c *compiling) toSite(n *Network, m *member) {
	k, ok := c.f.KeyOf(m.gateway, n.Name)
	if !ok {
		c.wait(n.Name, m.gateway, m.gateway)
		return
	}
	accepted := []netip.Prefix{m.address}
	for _, l := range m.lans {
		accepted = append(accepted, l.Known())
	}
	c.head("network.site")
	c.put("name", m.gateway)
	c.put("public_key", k.Public)
	c.put("allowed_ips", accepted)
	c.where(n.Name+", "+m.gateway, append([]string{at(attachmentsFile, m.att.line)}, c.f.kept(end{m.gateway, n.Name})...)...)
}
