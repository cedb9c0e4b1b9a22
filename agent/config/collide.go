package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/tunnels"
)

// HostFacts is what no network may take away from the host that it is on.
type HostFacts struct {
	Links     []tunnels.Link          // links that are not ours, with their addresses
	Gateways  []netip.Addr            // of the host's default routes
	Endpoints map[string][]netip.Addr // host or "host:port" of a hub's endpoint -> its addresses
	Collector []netip.Addr
	Protected []netip.Prefix // besides HSCN's, as in Host.Protected
}

// hscn are the name servers and clocks of HSCN. Every site there needs them,
// and 10/8 and the like must not swallow them unseen.
var hscn = []struct {
	addr netip.Addr
	what string
}{
	{netip.MustParseAddr("155.231.231.1"), "a DNS server of HSCN"},
	{netip.MustParseAddr("155.231.231.2"), "a DNS server of HSCN"},
	{netip.MustParseAddr("155.231.231.3"), "a time server of HSCN"},
	{netip.MustParseAddr("155.231.231.4"), "a time server of HSCN"},
}

// guarded is a prefix of the host's own network.
type guarded struct {
	prefix netip.Prefix
	name   string // what may_cover calls it
	what   string // as in "the LAN on eth1 (192.168.10.1)"
}

// HostCollisions names every accepted prefix that would take a part of this
// host's own network away: a connected LAN, the default gateway, a hub's
// endpoint, the collector, HSCN's DNS and time servers, a protected prefix. A
// network's may_cover lets it, by name: the link, "gateway", the hub's host
// name, "collector", "hscn", or the protected prefix.
func HostCollisions(c *Config, host HostFacts) Problems {
	all := host.guarded()
	var ps Problems
	for i, n := range c.Networks {
		check := func(path string, list []netip.Prefix) {
			for j, p := range list {
				ps = append(ps, c.collision(item(path+".allowed_ips", j), p, all, n.MayCover)...)
			}
		}
		for j, h := range n.Hubs {
			check(item(item("network", i)+".hub", j), h.AllowedIPs)
		}
		for j, s := range n.Sites {
			check(item(item("network", i)+".site", j), s.AllowedIPs)
		}
	}
	ps.sort()
	return ps
}

// collision is all that a prefix covers, as one problem.
func (c *Config) collision(path string, p netip.Prefix, all []guarded, may []string) Problems {
	var covers []string
	last := ""
	for _, g := range all {
		if !p.Overlaps(g.prefix) || slices.Contains(may, g.name) {
			continue
		}
		verb := "covers"
		if p.Bits() > g.prefix.Bits() {
			verb = "is a part of"
		}
		what := fmt.Sprintf("%v, %s", g.prefix, g.what)
		if g.prefix.IsSingleIP() {
			what = fmt.Sprintf("%v, %s", g.prefix.Addr(), g.what)
		}
		if verb != last {
			what, last = verb+" "+what, verb
		}
		if !slices.Contains(covers, what) {
			covers = append(covers, what)
		}
	}
	if len(covers) == 0 {
		return nil
	}
	return Problems{c.at(path, Problem{Message: fmt.Sprintf("%v %s", p, strings.Join(covers, "; ")),
		Hint: fmt.Sprintf("list only what is behind %s", c.behind(path))})}
}

// at places a problem at a key path, or at what is nearest to it in the file.
func (c *Config) at(path string, p Problem) Problem {
	at := c.nearestPlace(path)
	p.File, p.Line, p.Column, p.Path = c.file, at.line, at.column, path
	return p
}

// behind is the name of the peer that has the prefix at path.
func (c *Config) behind(path string) string {
	for i, n := range c.Networks {
		for j, h := range n.Hubs {
			if strings.HasPrefix(path, item(item("network", i)+".hub", j)+".") {
				return h.Name
			}
		}
		for j, s := range n.Sites {
			if strings.HasPrefix(path, item(item("network", i)+".site", j)+".") {
				return s.Name
			}
		}
	}
	return "the other end"
}

func (h HostFacts) guarded() []guarded {
	var all []guarded
	for _, l := range h.Links {
		for _, a := range l.Addresses {
			if l.Name == "lo" || a.Addr().IsLoopback() || a.Addr().IsLinkLocalUnicast() {
				continue
			}
			all = append(all, guarded{a.Masked(), l.Name, fmt.Sprintf("the LAN on %s (%v)", l.Name, a.Addr())})
		}
	}
	one := func(a netip.Addr, name, what string) {
		all = append(all, guarded{host(a.Unmap().WithZone("")), name, what})
	}
	for _, a := range h.Gateways {
		one(a, "gateway", "the default gateway")
	}
	for _, e := range slices.Sorted(maps.Keys(h.Endpoints)) {
		name := e
		if h, _, err := net.SplitHostPort(e); err == nil {
			name = h
		}
		for _, a := range h.Endpoints[e] {
			one(a, name, "where "+e+" answers")
		}
	}
	for _, a := range h.Collector {
		one(a, "collector", "the collector")
	}
	for _, s := range hscn {
		one(s.addr, "hscn", s.what)
	}
	for _, p := range h.Protected {
		all = append(all, guarded{p.Masked(), p.String(), "a protected prefix"})
	}
	return all
}

// Refusal is how `ginnel plan` begins when HostCollisions or Taken found
// something; then the problems follow, and what was (not) written.
func (c *Config) Refusal(found Problems) string {
	taken, covering := found.Split(ErrTaken)
	var parts []string
	if len(covering) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s would take this host's own network away", len(covering), plural(c.prefixes(), "prefix")))
	}
	if len(taken) > 0 {
		parts = append(parts, plural(len(taken), "thing")+" on this host that the config needs "+
			map[bool]string{true: "is", false: "are"}[len(taken) == 1]+" somebody else's")
	}
	return wrap("refused: "+strings.Join(parts, "; "), "")
}

// prefixes counts those that are accepted.
func (c *Config) prefixes() int {
	total := 0
	for _, n := range c.Networks {
		for _, h := range n.Hubs {
			total += len(h.AllowedIPs)
		}
		for _, s := range n.Sites {
			total += len(s.AllowedIPs)
		}
	}
	return total
}
