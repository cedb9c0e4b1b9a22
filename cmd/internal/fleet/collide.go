package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
)

// Collisions is what a gateway's config would take of its own host's network, as
// the gateway reported that at a time: each at the row that could be changed.
func (f *Fleet) Collisions(gateway string, host block.HostSnapshot, reported time.Time) config.Problems {
	g, ok := f.Gateway(gateway)
	if !ok {
		return nil
	}
	var ps config.Problems
	for _, name := range g.Networks {
		n := f.network(name)
		var may []string
		if m := f.memberAt[end{gateway, name}]; m != nil {
			for _, l := range m.lans {
				may = append(may, l.MayCover...)
			}
			ps = append(ps, f.ownLANs(n, m, host, reported)...)
		}
		for _, s := range f.sources(g, n) {
			if what := taken(s.prefix, host, append(may, n.MayCover...), reported); what != "" {
				s.at.Message = fmt.Sprintf("%v %s", s.prefix, what)
				ps = append(ps, s.at)
			}
		}
	}
	return ps
}

// ownLANs tells a LAN that the gateway has on the side of the line.
func (f *Fleet) ownLANs(n *Network, m *member, host block.HostSnapshot, reported time.Time) config.Problems {
	var ps config.Problems
	for _, l := range m.lans {
		for _, link := range host.Links {
			if !link.Uplink || slices.Contains(append(l.MayCover, n.MayCover...), link.Name) {
				continue
			}
			if slices.ContainsFunc(link.Prefixes, func(p netip.Prefix) bool { return p.Masked().Overlaps(l.Prefix) }) {
				ps = append(ps, config.Problem{File: attachmentsFile, Line: l.line, Path: "lan",
					Message: fmt.Sprintf("%v is also its WAN side (%s, reported %s)", l.Prefix, link.Name, clock(reported)),
					Hint:    "a LAN that the line has as well cannot be told from it: renumber one, or list the LAN's own part only"})
			}
		}
	}
	return ps
}

// source is a prefix that a gateway accepts, and where it comes from.
type source struct {
	prefix netip.Prefix
	at     config.Problem
}

// sources are the prefixes that a gateway accepts in a network.
func (f *Fleet) sources(g Gateway, n *Network) []source {
	var all []source
	if g.Hub {
		for _, m := range f.members[n.Name] {
			if slices.Contains(m.hubs(n), g.Name) {
				all = append(all, f.sourcesOf(n, m)...)
			}
		}
		return all
	}
	m := f.memberAt[end{g.Name, n.Name}]
	for _, name := range m.hubs(n) {
		h := &f.Hubs[f.hubAt[name]]
		lans, _ := h.table.Table("lan")
		for i, p := range h.LAN[n.Name] {
			s := source{p, lans.At(n.Name, i)}
			s.at.Hint = "list only what is behind " + h.Name
			all = append(all, s)
		}
		all = append(all, source{f.address[end{name, n.Name}], n.table.At("overlay", -1)})
	}
	others := f.otherSites(n, m)
	if len(others) == 0 {
		return all
	}
	for _, o := range f.members[n.Name] {
		for _, s := range f.sourcesOf(n, o) {
			if slices.Contains(others, s.prefix) {
				all = append(all, s)
			}
		}
	}
	return all
}

// sourcesOf are the prefixes that a site brings.
func (f *Fleet) sourcesOf(n *Network, m *member) []source {
	all := []source{{m.address, n.table.At("overlay", -1)}}
	for _, l := range m.lans {
		s := source{l.Known(), config.Problem{File: attachmentsFile, Line: l.line, Path: "lan"}}
		if l.As.IsValid() {
			s.at.Path = "as"
		}
		all = append(all, s)
	}
	return all
}

// taken says what of the host's own network a prefix would take away; empty:
// nothing.
func taken(p netip.Prefix, host block.HostSnapshot, may []string, reported time.Time) string {
	said := ", reported " + clock(reported) + ")"
	for _, a := range host.Gateways {
		if p.Contains(a.Unmap()) && !slices.Contains(may, "gateway") {
			return fmt.Sprintf("has the host's default router in it (%v%s", a, said)
		}
	}
	for _, l := range host.Links {
		if slices.Contains(may, l.Name) {
			continue
		}
		for _, q := range l.Prefixes {
			side := "LAN"
			if l.Uplink {
				side = "WAN"
			}
			if p.Overlaps(q.Masked()) && !q.Addr().IsLinkLocalUnicast() && !q.Addr().IsLoopback() {
				return fmt.Sprintf("is also its %s side (%s%s", side, l.Name, said)
			}
		}
	}
	return ""
}

// clock is a time of day by the clocks on the walls of the sites.
func clock(t time.Time) string { return t.In(zone()).Format("15:04") }

var zone = sync.OnceValue(func() *time.Location {
	z, err := time.LoadLocation(block.Zone)
	if err != nil {
		return time.UTC // package centre has the tables in it
	}
	return z
})
