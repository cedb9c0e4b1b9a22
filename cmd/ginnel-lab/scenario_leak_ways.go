package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/marks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
)

// probe is one packet that is tried again and again, and where it may be seen.
type probe struct {
	sort   string // what is tried, in a few words
	listed bool   // it may pass; else it must not
	hub    string // that it goes by; empty: none
	packet marks.Packet

	from *netns.Node
	own  []netip.Addr // a node without these addresses cannot try it
	link string       // it leaves by this link only; empty: by the node's routes
	into *netns.End
	dial bool // somebody listens there, so a connection is tried as well

	forged  bool     // the source is somebody else's
	told    []string // where a refusal may be seen besides: at whoever has the source
	may     []string // "node:link" and "node:in" where it may be seen; "node:*" is every link
	origin  string   // where its answer comes back
	arrives string   // where it is at its end; for what is not answered
}

// Sorts that are asked for by name: what goes beside all networks, and the ports
// that the kernel chose.
const internet, portFromLAN = "to the internet", "WireGuard's port from the LAN"

// spot is a node with its address and the way to its gateway.
type spot struct {
	node *netns.Node
	addr netip.Addr
	path []string // from the node to its gateway, both of whose ends are links
}

func (l *leak) lan(name string) spot {
	s := l.county.Site(name)
	return spot{s.LAN, s.Host(), []string{s.LAN.Name + ":eth0", s.Node.Name + ":eth1"}}
}

func (l *leak) lan2(name string) spot {
	s := l.county.Site(name)
	return spot{s.LAN2, s.Host2(), []string{s.LAN2.Name + ":eth0", s.Node.Name + ":eth2"}}
}

// service is the host of a network behind a hub.
func (l *leak) service(hub, network string) spot {
	h := l.county.Hub(hub)
	i := slices.IndexFunc(l.county.Plan.NetworksOf(h.HubPlan), func(n county.NetworkPlan) bool { return n.Name == network })
	node := l.node(hub + "-" + network)
	return spot{node, l.county.Plan.NetworksOf(h.HubPlan)[i].Service,
		[]string{node.Name + ":eth0", fmt.Sprintf("%s:eth%d", hub, i+1)}}
}

func (l *leak) node(name string) *netns.Node {
	n, err := l.county.Node(name)
	if err != nil {
		panic(err) // the plan has it
	}
	return n
}

// tunnel is both ends of one.
func tunnel(site, network, hub string) []string {
	return []string{site + ":" + tunnels.DeviceName(network, hub), hub + ":" + tunnels.DeviceName(network, "")}
}

// wire is every line.
var wire = []string{"provider:*"}

// way is what is tried from one address to another.
type way struct {
	l        *leak
	sort     string
	listed   bool
	hub      string
	from     spot
	src, dst netip.Addr
	link     string
	into     *netns.End
	own      bool // the source must be the node's own
	hops     uint8
	may      []string
	told     []string
	arrives  string
}

// try adds an attempt for each of "tcp/80", "udp/161", "icmp", in both families.
func (w way) try(what ...string) {
	for _, x := range what {
		p := marks.Packet{Protocol: x, Src: w.src, Dst: w.dst, Hops: w.hops}
		if !p.Src.IsValid() {
			p.Src = w.from.addr
		}
		if x != "icmp" {
			p.Protocol = x[:3]
			if _, err := fmt.Sscanf(x[4:], "%d", &p.Port); err != nil {
				panic(err)
			}
		}
		var own []netip.Addr
		if w.own {
			own = []netip.Addr{p.Src, county.Six(p.Src)}
		}
		a := probe{sort: w.sort, listed: w.listed, hub: w.hub, packet: p,
			from: w.from.node, own: own, link: w.link, into: w.into,
			forged: w.src.IsValid() && w.src != w.from.addr,
			told:   w.told,
			may:    slices.Concat(w.from.path, w.may), arrives: w.arrives, origin: w.from.path[0]}
		a.dial = p.Protocol == "tcp" && p.Hops == 0 && w.link == "" && !w.own && !w.src.IsValid()
		six := a
		six.packet.Src, six.packet.Dst = county.Six(p.Src), county.Six(p.Dst)
		w.l.attempts = append(w.l.attempts, a, six)
	}
}

// member is a site's place in a network.
type member struct {
	site, network, hub string
	lan                spot
}

// members are the sites whose config lists what it allows, and in which network
// by which LAN.
func (l *leak) members() []member {
	var all []member
	for _, s := range l.county.Sites {
		for _, j := range s.Joins {
			m := member{s.Name(), j.Network, j.Hubs[0], l.lan(s.Name())}
			if j.Ingress == "eth2" {
				m.lan = l.lan2(s.Name())
			}
			if !j.Lax {
				all = append(all, m)
			}
		}
	}
	return all
}

func (m member) tunnel() []string { return tunnel(m.site, m.network, m.hub) }

// outside is the provider's end of a line, from which packets are put onto it.
// They may be seen there both ways: where they are no network's, a router may
// send them back to where they came from.
func (l *leak) outside(name, link string) spot {
	return spot{l.node("provider"), netip.Addr{}, []string{"provider:isp-" + name, name + ":" + link}}
}

func (p spot) into() *netns.End {
	return &netns.End{Node: p.node, Link: p.path[0][len("provider:"):]}
}
