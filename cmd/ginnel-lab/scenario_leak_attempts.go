package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/tunnels"
)

// echoService is what hubs answer to their sites.
var echoService = fmt.Sprintf("udp/%d", checks.EchoPort)

// attemptAll lists everything that is tried.
func (l *leak) attemptAll() {
	l.attempts = nil
	l.listedOnes()
	l.unlisted()
	l.fromHubs()
	l.forged()
	l.acrossNetworks()
	l.intoGateways()
	l.attempts = slices.DeleteFunc(l.attempts, func(a probe) bool { return a.sort == l.not })
}

// listedOnes may pass: a network that is dead leaks nothing either.
func (l *leak) listedOnes() {
	for _, m := range l.members() {
		to := l.service(m.hub, m.network)
		way{l: l, sort: "what sites may open", listed: true, hub: m.hub, from: m.lan, dst: to.addr,
			may: slices.Concat(m.tunnel(), to.path), arrives: to.path[0]}.try("tcp/443", "udp/53", "icmp")
	}
	// What a router says of a packet that dies there has the packet in it.
	for _, m := range l.members() {
		to := l.service(m.hub, m.network)
		way{l: l, sort: "what dies at a hub", from: m.lan, dst: to.addr, hops: 2, may: m.tunnel()}.try("tcp/443", "udp/53", "icmp")
		way{l: l, sort: "what dies at a site", from: to, dst: m.lan.addr, hops: 2, may: reversed(m.tunnel())}.try("tcp/9100", "udp/161")
	}
	for _, m := range l.members() {
		way{l: l, sort: internet, listed: true, from: m.lan, dst: county.InternetAddress,
			may: append([]string{m.site + ":eth0", "internet:eth0"}, wire...), arrives: "internet:eth0"}.try("tcp/443", "udp/53", "icmp")
		if m.network != "kestrel" {
			continue
		}
		from := l.service(m.hub, m.network)
		way{l: l, sort: "what a host behind the hubs may open", listed: true, hub: m.hub, from: from, dst: m.lan.addr,
			may: slices.Concat(m.tunnel(), m.lan.path), arrives: m.lan.path[0]}.try("tcp/9100")
	}
	from, to := l.lan("bittern"), l.lan("avocet")
	way{l: l, sort: "the pair of sites that is listed", listed: true, hub: "hub-north", from: from, dst: to.addr,
		may:     slices.Concat(tunnel("bittern", "kestrel", "hub-north"), tunnel("avocet", "kestrel", "hub-north"), to.path),
		arrives: to.path[0]}.try("tcp/8443")
	way{l: l, sort: "what dies at a hub between two sites", from: from, dst: to.addr, hops: 2, may: tunnel("bittern", "kestrel", "hub-north")}.
		try("tcp/8443", "tcp/22", "udp/161", "icmp")
}

func reversed(path []string) []string { return []string{path[1], path[0]} }

// unlisted is what sites try, in their network and of each other. dunlin's own
// config would let it pass, and so it gets as far as the hub.
func (l *leak) unlisted() {
	for _, m := range l.members() {
		way{l: l, sort: "a port that is not listed", from: m.lan, dst: l.service(m.hub, m.network).addr}.try("tcp/80", "tcp/25", "udp/161")
	}
	dunlin, far := l.lan("dunlin"), tunnel("dunlin", "kestrel", "hub-north")
	way{l: l, sort: "a port that only the hub refuses", from: dunlin, dst: l.service("hub-north", "kestrel").addr, may: far}.
		try("tcp/80", "tcp/25", "udp/161")
	avocet, bittern := l.lan("avocet"), l.lan("bittern")
	way{l: l, sort: "site to site", from: bittern, dst: avocet.addr}.try("tcp/22", "udp/161", "icmp")
	way{l: l, sort: "site to site", from: avocet, dst: bittern.addr}.try("tcp/8443", "tcp/22", "udp/161", "icmp")
	for _, to := range []spot{avocet, bittern} {
		way{l: l, sort: "site to site that only the hub refuses", from: dunlin, dst: to.addr, may: far}.
			try("tcp/8443", "tcp/22", "udp/161", "icmp")
	}
}

// fromHubs is what hosts behind the hubs try of sites, and what a hub tries that
// refuses nothing itself: it sends straight into its device.
func (l *leak) fromHubs() {
	for _, m := range l.members() {
		from := l.service(m.hub, m.network)
		others := []string{"tcp/22", "udp/161", "icmp"}
		if m.network != "kestrel" {
			others = append(others, "tcp/9100")
		}
		way{l: l, sort: "into a LAN", from: from, dst: m.lan.addr}.try(others...)
		way{l: l, sort: "to the internet by a hub", from: from, dst: county.InternetAddress}.try("tcp/443", "udp/53", "icmp")
		l.rogue(m, "into a LAN that only the site refuses", m.lan.addr, m.tunnel()[:1], others...)
	}
	bittern := l.lan("bittern")
	l.wide("to the internet by a site", county.InternetAddress, "tcp/443", "udp/53", "icmp")
	l.wide("through a site into another network", l.service("hub-north", "kestrel").addr, "tcp/443", "udp/53", "icmp")
	l.wide("through a site into another network's LAN", l.lan2("avocet").addr, "tcp/22", "tcp/9100", "udp/161", "icmp")
	l.wide("through a site to another site", bittern.addr, "tcp/8443", "tcp/22", "udp/161", "icmp")
}

// rogue tries something from a hub's own device towards a member. The kernel's
// WireGuard says "host unreachable" of what no peer takes: to whose address it is.
func (l *leak) rogue(m member, sort string, dst netip.Addr, may []string, what ...string) {
	device := tunnels.DeviceName(m.network, "")
	behind := l.service(m.hub, m.network)
	from := spot{node: l.node(m.hub), addr: behind.addr, path: []string{m.hub + ":" + device}}
	w := way{l: l, sort: sort, from: from, src: from.addr, dst: dst, link: device, may: may}
	if l.stage.kernel {
		w.told = behind.path
	}
	w.try(what...)
}

// wide tries it from hub-west, which takes avocet to have more than it says.
func (l *leak) wide(sort string, dst netip.Addr, what ...string) {
	m := member{"avocet", "heron", "hub-west", l.lan("avocet")}
	l.rogue(m, sort, dst, m.tunnel()[:1], what...)
}

// forged is what comes with somebody else's address: from the LAN, from the WAN,
// and from a gateway itself.
func (l *leak) forged() {
	avocet, bittern := l.lan("avocet"), l.lan("bittern")
	for _, m := range l.members() {
		to := l.service(m.hub, m.network)
		overlay := l.county.Site(m.site).Overlay(m.network)
		sources := []netip.Addr{overlay, netip.MustParseAddr("198.51.100.99"), bittern.addr}
		if m.site != "avocet" { // no link is named there: what is not from its LAN is not the network's
			sources = []netip.Addr{overlay}
		}
		for _, src := range sources {
			if src != m.lan.addr {
				way{l: l, sort: "a forged source from the LAN", from: m.lan, src: src, dst: to.addr}.try("tcp/443", "udp/53", "icmp")
			}
		}
		wan := l.outside(m.site, "eth0")
		for _, src := range []netip.Addr{m.lan.addr, overlay} {
			way{l: l, sort: "a forged source from the WAN into a network", from: wan, src: src, dst: to.addr, into: wan.into()}.
				try("tcp/443", "udp/53", "icmp")
		}
		way{l: l, sort: "a forged source from the WAN into a LAN", from: wan, src: to.addr, dst: m.lan.addr, into: wan.into()}.
			try("tcp/9100", "tcp/22", "udp/161", "icmp")
		way{l: l, sort: "a forged source from the WAN to an overlay address", from: wan, src: to.addr, dst: overlay, into: wan.into()}.
			try("tcp/22", "udp/161", "icmp")
		hub := l.outside(m.hub, "eth0")
		way{l: l, sort: "a forged source from the WAN behind a hub", from: hub, src: m.lan.addr, dst: to.addr, into: hub.into()}.
			try("tcp/443", "udp/53", "icmp")
		way{l: l, sort: "a forged source from the WAN to a site by its hub", from: hub, src: to.addr, dst: m.lan.addr, into: hub.into()}.
			try("tcp/9100", "tcp/22", "udp/161", "icmp")
		own := spot{node: l.node(m.site), addr: overlay, path: []string{m.site + ":nowhere"}}
		way{l: l, sort: "an overlay address to the internet", from: own, own: true, dst: county.InternetAddress}.try("tcp/443", "udp/53", "icmp")
	}
	way{l: l, sort: "a forged source from the other LAN", from: l.lan2("avocet"), src: avocet.addr,
		dst: l.service("hub-north", "kestrel").addr}.try("tcp/443", "udp/53", "icmp")
}

// acrossNetworks tries one network's hosts from another's.
func (l *leak) acrossNetworks() {
	const sort = "another network"
	beside := func(site string) []string { return append([]string{site + ":eth0"}, wire...) } // to whom it is just the internet
	all := l.members()
	for _, m := range all {
		for _, o := range all {
			if m.site == o.site && m.lan.addr == o.lan.addr || m.network == o.network {
				continue // its own
			}
			overlay := l.county.Hub(o.hub).Overlay[o.network]
			way{l: l, sort: sort, from: m.lan, dst: overlay, may: beside(m.site)}.try("tcp/443", "udp/53", "icmp", echoService)
			service := l.service(o.hub, o.network).addr
			if !slices.ContainsFunc(all, func(x member) bool {
				return x.lan.addr == m.lan.addr && l.service(x.hub, x.network).addr == service // by a network of its own
			}) {
				way{l: l, sort: sort, from: m.lan, dst: service, may: beside(m.site)}.try("tcp/443", "udp/53", "icmp")
			}
		}
	}
	kestrel, heron := l.service("hub-south", "kestrel"), l.service("hub-south", "heron")
	way{l: l, sort: "another network of the same hub", from: kestrel, dst: heron.addr}.try("tcp/443", "udp/53", "icmp")
	way{l: l, sort: "another network of the same hub", from: heron, dst: kestrel.addr}.try("tcp/443", "udp/53", "icmp")
	way{l: l, sort: "another network's site by the same hub", from: kestrel, dst: l.lan("egret").addr}.try("tcp/9100", "tcp/22", "udp/161", "icmp")
	way{l: l, sort: "another network's site by the same hub", from: heron, dst: l.lan("bittern").addr}.try("tcp/9100", "tcp/22", "udp/161", "icmp")
}

// intoGateways tries the gateways and hubs themselves, from their tunnels, and
// WireGuard's ports from their LANs.
func (l *leak) intoGateways() {
	const sort = "into a gateway"
	for _, m := range l.members() {
		s := l.county.Site(m.site)
		router := m.lan.addr.As4()
		router[3] = 1
		for _, dst := range []netip.Addr{s.Overlay(m.network), netip.AddrFrom4(router)} {
			way{l: l, sort: sort, from: l.service(m.hub, m.network), dst: dst}.try("tcp/22", "udp/161")
			l.rogue(m, "into a gateway that only the gateway refuses", dst, m.tunnel()[:1], "tcp/22", "udp/161")
		}
		l.rogueEcho(m, s.Overlay(m.network))
		for _, port := range l.ports[m.site] {
			way{l: l, sort: portFromLAN, from: m.lan, dst: netip.AddrFrom4(router)}.try(fmt.Sprintf("udp/%d", port))
		}
		from := l.service(m.hub, m.network)
		hub := from.addr.As4()
		hub[3] = 1
		way{l: l, sort: "WireGuard's port from behind a hub", from: from, dst: netip.AddrFrom4(hub)}.
			try(fmt.Sprintf("udp/%d", l.county.Hub(m.hub).Ports[m.network]))
		// What a hub answers inside the tunnels it answers nowhere else.
		responder := l.county.Hub(m.hub).Overlay[m.network]
		way{l: l, sort: "a hub's responder from behind it", from: from, dst: responder}.try(echoService)
		wan := l.outside(m.hub, "eth0")
		way{l: l, sort: "a hub's responder from the WAN", from: wan, src: s.Overlay(m.network), dst: responder, into: wan.into()}.try(echoService)
		way{l: l, sort: "a site has no responder", from: from, dst: s.Overlay(m.network)}.try(echoService)
	}
	way{l: l, sort: "into a hub", from: l.lan("dunlin"), dst: l.county.Hub("hub-north").Overlay["kestrel"],
		may: tunnel("dunlin", "kestrel", "hub-north")}.try("tcp/22", "udp/161", "udp/51820")
}

// rogueEcho is what may come out of a tunnel to a gateway: an echo request.
func (l *leak) rogueEcho(m member, overlay netip.Addr) {
	device := tunnels.DeviceName(m.network, "")
	own := l.county.Hub(m.hub).Overlay[m.network]
	from := spot{node: l.node(m.hub), addr: own, path: []string{m.hub + ":" + device}}
	way{l: l, sort: "an echo of a gateway's overlay address", listed: true, hub: m.hub, from: from, src: own, dst: overlay, link: device,
		may: append(m.tunnel(), m.site+":in", m.hub+":in"), told: []string{m.hub + ":lo"}}.try("icmp")
}
