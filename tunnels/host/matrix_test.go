package host

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// echo answers at UDP addresses of this namespace.
func echo(t *testing.T, addresses ...string) {
	t.Helper()
	for _, at := range addresses {
		u, err := net.ListenPacket("udp", at)
		must(t, err)
		go func() {
			buf := make([]byte, 100)
			for {
				n, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				u.WriteTo(buf[:n], from)
			}
		}()
	}
}

// serve answers whoever comes to a namespace, over TCP and UDP.
func serve(t *testing.T, ns string, ports ...int) {
	t.Helper()
	within(t, ns, func() {
		for _, port := range ports {
			l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
			must(t, err)
			echo(t, fmt.Sprintf(":%d", port))
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go io.Copy(c, c)
				}
			}()
		}
	})
}

// dial opens a connection from a namespace; nil: it cannot be had.
func dial(t *testing.T, ns, to, service string) (c net.Conn) {
	proto, port, _ := strings.Cut(service, "/")
	within(t, ns, func() {
		d := net.Dialer{Timeout: 500 * time.Millisecond}
		switch source := source(ns, to); {
		case source != "" && proto == "tcp":
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))
		case source != "":
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))
		}
		c, _ = d.Dial(proto, net.JoinHostPort(to, port))
	})
	return c
}

// source is the address that one asks from: a gateway must have the network's.
func source(ns, to string) string {
	own := map[string][2]string{"hub": {"100.64.0.1", "2001:db8:64::1"}, "bittern": {"192.168.20.20", "2001:db8:20::20"}}[ns]
	if strings.Contains(to, ":") {
		return own[1]
	}
	return own[0]
}

func answers(c net.Conn) bool {
	c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	_, err := c.Write([]byte("?"))
	if err != nil {
		return false
	}
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

// connects tells whether somebody is answered by a service: tcp/80, udp/53, icmp.
func connects(t *testing.T, ns, to, service string) bool {
	if service == "icmp" {
		if from := source(ns, to); from != "" {
			to = "-I " + from + " " + to
		}
		return strings.Contains(sh(t, "ip netns exec "+ns+" ping -c1 -W1 "+to+" || true"), " 0% packet loss")
	}
	c := dial(t, ns, to, service)
	if c == nil {
		return false
	}
	defer c.Close()
	return answers(c)
}

// way is who asks whom for what, and the rule that refuses it; empty: none does.
type way struct{ from, to, services, rule string }

// try holds that all ways are as they should be, and that each refusal was
// counted under its rule, and nothing else was.
func try(t *testing.T, h *Host, table string, ways []way) {
	t.Helper()
	before, want := refused(t, h, table), map[string]bool{}
	var all sync.WaitGroup
	for _, w := range ways {
		for service := range strings.FieldsSeq(w.services) {
			all.Go(func() {
				what := fmt.Sprintf("%s to %s %s", w.from, w.to, service)
				if w.rule == "" {
					soon(t, what, func() bool { return connects(t, w.from, w.to, service) })
				} else if connects(t, w.from, w.to, service) {
					t.Errorf("%s: it is answered, and should be refused as %s", what, w.rule)
				}
			})
		}
		if w.rule != "" {
			want[w.rule] = true
		}
	}
	all.Wait()
	counted := map[string]bool{}
	for rule, n := range refused(t, h, table) {
		if n > before[rule] {
			counted[rule] = true
		}
	}
	if !maps.Equal(counted, want) {
		t.Errorf("counted were %v, want %v", slices.Sorted(maps.Keys(counted)), slices.Sorted(maps.Keys(want)))
	}
}

// soon is eventually for a goroutine of the test's.
func soon(t *testing.T, what string, true func() bool) {
	for end := time.Now().Add(15 * time.Second); !true(); {
		if time.Now().After(end) {
			t.Errorf("waited in vain: %s", what)
			return
		}
	}
}

// both is a way in IPv4, and the same in IPv6.
func both(from, to4, to6, services, rule string) []way {
	return []way{{from, to4, services, rule}, {from, to6, services, rule}}
}

// dual gives the county IPv6, and services that answer.
func dual(t *testing.T) {
	t.Helper()
	county(t)
	sh(t, `set -e
		ip addr add 2001:db8:2::2/64 dev wan nodad; ip route add default via 2001:db8:2::1
		ip -n hub addr add 2001:db8:2::1/64 dev wan nodad; ip -n hub addr add 2001:db8:51::1/64 dev dc nodad
		ip -n pc addr add 2001:db8:10::20/64 dev eth0 nodad; ip -n pc route add default via 2001:db8:10::1
		ip -n service addr add 2001:db8:51::20/64 dev eth0 nodad; ip -n service route add default via 2001:db8:51::1`)
	for _, ns := range []string{"pc", "service", "hub"} {
		serve(t, ns, 80, 9100)
	}
	go func() { // this namespace, which has no name
		l, err := net.Listen("tcp", ":80")
		if err == nil {
			l.Accept()
		}
	}()
}

// ends are the specs of both ends, for IPv4 and IPv6, with these allows.
func ends(allow ...tunnels.Allow) (site, hub tunnels.Spec) {
	one, two := siteSpec.Networks[0], hubSpec.Networks[0]
	two.LAN = append(slices.Clone(two.LAN), prefixes("2001:db8:51::/64")...)
	two.Devices = slices.Clone(two.Devices)
	peer := two.Devices[0].Peers[0]
	peer.AllowedIPs = append(slices.Clone(peer.AllowedIPs), prefixes("2001:db8:10::/64", "203.0.113.9/32", "2001:db8:99::9/128")...)
	two.Devices[0].Peers = []tunnels.PeerSpec{peer}
	one.Allow, two.Allow = allow, allow
	return tunnels.Spec{Networks: []tunnels.Network{one}}, tunnels.Spec{Networks: []tunnels.Network{two}}
}

// at has a Host in a namespace do something.
func at(t *testing.T, ns string, do func(*Host)) {
	t.Helper()
	within(t, ns, func() {
		h, err := New(Options{Remember: "/run/" + ns + ".json", Uplinks: []string{"wan", "uplink"}, Backend: backend(),
			Launcher: wireguard.Setsid{Program: program(t), Log: "/run/dataplane.log"}})
		must(t, err)
		defer h.Close()
		do(h)
	})
}

const most = "tcp/80 udp/80 icmp"

// What a site lets pass by itself: its hub says no to nothing here.
func TestSiteFilters(t *testing.T) {
	if !apart(t) {
		return
	}
	dual(t)
	h := open(t)
	site, hub := ends(
		tunnels.Allow{From: "198.51.100.20/32", To: "sites", Ports: []string{"tcp/9100", "udp/9100"}},
		tunnels.Allow{From: "2001:db8:51::/64", To: "2001:db8:10::20/128", Ports: []string{"tcp/9100", "udp/9100"}})
	converge(t, h, site)
	at(t, "hub", func(hubHost *Host) { converge(t, hubHost, hub) })
	sh(t, "ip netns exec hub nft delete table inet ginnel_kestrel")

	const table = "ginnel_kestrel"
	try(t, h, table, slices.Concat(
		both("pc", "198.51.100.20", "2001:db8:51::20", most, ""),
		both("service", "192.168.10.20", "2001:db8:10::20", "tcp/9100 udp/9100", ""),
		both("hub", "100.64.0.7", "2001:db8:64::7", "icmp", ""),
	))
	for _, ways := range [][]way{
		both("service", "192.168.10.20", "2001:db8:10::20", most, tunnels.RefusedIntoLAN),
		both("hub", "192.168.10.20", "2001:db8:10::20", "tcp/9100", tunnels.RefusedIntoLAN), // by its overlay address
		both("service", "192.168.10.1", "2001:db8:10::1", "tcp/80 icmp", tunnels.RefusedIntoLAN),
		both("hub", "100.64.0.7", "2001:db8:64::7", "tcp/80 udp/80", tunnels.RefusedIntoGateway),
		both("hub", "203.0.113.9", "2001:db8:99::9", most, tunnels.RefusedAstray), // to the bare WAN
	} {
		try(t, h, table, ways)
	}

	sh(t, `ip -n pc addr add 192.168.99.9/32 dev lo; ip -n pc addr add 2001:db8:99::1/128 dev lo
		ip -n pc route add 198.51.100.21 via 192.168.10.1 src 192.168.99.9
		ip -n pc route add 2001:db8:51::21 via 2001:db8:10::1 src 2001:db8:99::1`)
	try(t, h, table, both("pc", "198.51.100.21", "2001:db8:51::21", most, tunnels.RefusedSpoofed))
	sh(t, `set -e; ip netns add alien; ip link add gn-alien type veth peer name eth0 netns alien; ip link set gn-alien up
		ip -n alien link set eth0 up; ip addr add 203.0.113.1/24 dev gn-alien; ip addr add 2001:db8:33::1/64 dev gn-alien nodad
		ip -n alien addr add 203.0.113.2/24 dev eth0; ip -n alien addr add 2001:db8:33::2/64 dev eth0 nodad
		ip -n alien route add default via 203.0.113.1; ip -n alien route add default via 2001:db8:33::1
		echo 1 > /proc/sys/net/ipv4/conf/gn-alien/forwarding; ip route add 198.51.100.0/24 dev gn-site; ip route add 2001:db8:51::/64 dev gn-site`)
	try(t, h, table, both("alien", "198.51.100.20", "2001:db8:51::20", most, tunnels.RefusedOtherNetwork))
	// Addresses of the LAN on a link that is not the LAN's.
	sh(t, `set -e; ip netns add guest; ip link add guest type veth peer name eth0 netns guest; ip link set guest up; ip -n guest link set eth0 up
		ip addr add 203.0.113.129/30 dev guest; ip -n guest addr add 203.0.113.130/30 dev eth0; ip -n guest addr add 192.168.10.77/32 dev eth0
		ip addr add 2001:db8:88::1/64 dev guest nodad; ip -n guest addr add 2001:db8:88::2/64 dev eth0 nodad; ip -n guest addr add 2001:db8:10::77/128 dev eth0 nodad
		ip -n guest route add default via 203.0.113.129 src 192.168.10.77; ip -n guest route add default via 2001:db8:88::1 src 2001:db8:10::77
		echo 1 > /proc/sys/net/ipv4/conf/guest/forwarding`)
	try(t, h, table, both("guest", "198.51.100.20", "2001:db8:51::20", most, tunnels.RefusedSpoofed))

	// An error about a packet of ours comes back through what lets nothing in.
	closed := dial(t, "pc", "198.51.100.20", "udp/4444")
	soon(t, "a port that is closed is told", func() bool {
		closed.Write([]byte("?"))
		closed.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, err := closed.Read(make([]byte, 1))
		return errors.Is(err, unix.ECONNREFUSED)
	})

	// What is open goes on when the table is another.
	open := dial(t, "pc", "198.51.100.20", "tcp/9100")
	if open == nil || !answers(open) {
		t.Fatal("the connection that is to go on was never there")
	}
	site, _ = ends(tunnels.Allow{From: "sites", To: "198.51.100.0/24", Ports: []string{"tcp/80"}},
		tunnels.Allow{From: "sites", To: "2001:db8:51::20/128", Ports: []string{"udp/80", "icmp"}})
	converge(t, h, site)
	if !answers(open) {
		t.Error("an open connection broke when the table was replaced")
	}
	try(t, h, table, []way{
		{"pc", "198.51.100.20", "tcp/80", ""}, {"pc", "2001:db8:51::20", "udp/80 icmp", ""},
		{"pc", "198.51.100.20", "udp/80 icmp tcp/9100", tunnels.RefusedNotListed}, {"pc", "2001:db8:51::20", "tcp/80", tunnels.RefusedNotListed}})
	begun := time.Now()
	if connects(t, "pc", "198.51.100.20", "tcp/9100"); time.Since(begun) > 400*time.Millisecond {
		t.Error("who is refused is not told, and waits")
	}
	try(t, h, table, both("service", "192.168.10.20", "2001:db8:10::20", "tcp/9100", tunnels.RefusedIntoLAN))
}

// What a hub lets pass by itself: its sites say no to nothing here.
func TestHubFilters(t *testing.T) {
	if !apart(t) {
		return
	}
	dual(t)
	// A second site, which is its own LAN.
	sh(t, `set -e; ip netns add bittern; ip -n bittern link set lo up
		ip link add uplink type veth peer name wan netns bittern; ip link set uplink netns hub; ip -n hub link set uplink up
		ip -n bittern link set wan up; ip -n hub addr add 192.0.2.5/31 dev uplink; ip -n bittern addr add 192.0.2.4/31 dev wan
		ip -n bittern route add 192.0.2.1 via 192.0.2.5; ip -n hub route add 203.0.113.10 via 192.0.2.2
		ip -n bittern addr add 192.168.20.20/32 dev lo; ip -n bittern addr add 2001:db8:20::20/128 dev lo`)
	serve(t, "bittern", 80, 9100)
	site, hub := ends()
	bittern := tunnels.Spec{Networks: slices.Clone(site.Networks)}
	{
		key := worldKey
		n := &bittern.Networks[0]
		n.Addresses, n.LAN, n.Ingress = prefixes("100.64.0.8/32"), prefixes("192.168.20.0/24", "2001:db8:20::/64"), nil
		n.Devices = slices.Clone(n.Devices)
		n.Devices[0].Device, n.Devices[0].PrivateKey = "gn-bittern", key
		n.Devices[0].Peers = slices.Clone(n.Devices[0].Peers)
		n.Devices[0].Peers[0].AllowedIPs = prefixes("100.64.0.0/29", "198.51.100.0/24", "2001:db8:51::/64", "192.168.10.0/24", "2001:db8:10::/64")
		hub.Networks[0].Devices[0].Peers = append(hub.Networks[0].Devices[0].Peers, tunnels.PeerSpec{Name: "bittern-1",
			PublicKey: key.Public(), AllowedIPs: prefixes("100.64.0.8/32", "192.168.20.0/24", "2001:db8:20::/64")})
	}
	peer := &site.Networks[0].Devices[0].Peers[0]
	site.Networks[0].Devices[0].Peers = []tunnels.PeerSpec{*peer}
	peer = &site.Networks[0].Devices[0].Peers[0]
	peer.AllowedIPs = append(slices.Clone(peer.AllowedIPs), prefixes("192.168.20.0/24", "2001:db8:20::/64", "203.0.113.10/32")...)
	hub.Networks[0].EchoPort = 8620
	h := open(t)
	converge(t, h, site)
	at(t, "bittern", func(b *Host) { converge(t, b, bittern) })
	const table = "ginnel_kestrel"
	sh(t, "nft delete table inet ginnel_kestrel; ip netns exec bittern nft delete table inet ginnel_kestrel")

	at(t, "hub", func(h *Host) {
		with := func(allow ...tunnels.Allow) {
			t.Helper()
			hub.Networks[0].Allow = allow
			converge(t, h, hub)
		}
		with(tunnels.Allow{From: "198.51.100.20/32", To: "sites", Ports: []string{"tcp/9100"}},
			tunnels.Allow{From: "2001:db8:51::20/128", To: "2001:db8:10::/64", Ports: []string{"udp/9100"}},
			tunnels.Allow{From: "192.168.10.0/24", To: "192.168.20.20/32", Ports: []string{"tcp/9100"}})
		echo(t, "100.64.0.1:8620", "[2001:db8:64::1]:8620")
		try(t, h, table, slices.Concat(
			both("pc", "198.51.100.20", "2001:db8:51::20", most, ""),
			both("bittern", "198.51.100.20", "2001:db8:51::20", most, ""),
			both("pc", "100.64.0.1", "2001:db8:64::1", "icmp udp/8620", ""), // it is open to sites
			both("pc", "198.51.100.1", "2001:db8:51::1", "tcp/80", ""),      // the hub's own address in its LAN
			[]way{{"service", "192.168.10.20", "tcp/9100", ""}, {"service", "192.168.20.20", "tcp/9100", ""},
				{"service", "2001:db8:10::20", "udp/9100", ""}, {"pc", "192.168.20.20", "tcp/9100", ""}},
		))
		for _, ways := range [][]way{
			both("service", "192.168.10.20", "2001:db8:10::20", most, tunnels.RefusedIntoSites),
			both("pc", "192.168.20.20", "2001:db8:20::20", most, tunnels.RefusedSiteToSite),
			{{"bittern", "192.168.10.20", most + " tcp/9100", tunnels.RefusedSiteToSite}}, // the other way round
			both("pc", "100.64.0.1", "2001:db8:64::1", "tcp/80 udp/80", tunnels.RefusedIntoGateway),
			{{"pc", "203.0.113.10", most, tunnels.RefusedAstray}},
			both("service", "100.64.0.1", "2001:db8:64::1", "udp/8620", tunnels.RefusedSpoofed), // and to nobody else
		} {
			try(t, h, table, ways)
		}
		with(tunnels.Allow{From: "sites", To: "198.51.100.0/24", Ports: []string{"tcp/80", "udp/80"}},
			tunnels.Allow{From: "sites", To: "sites", Ports: []string{"icmp"}},
			tunnels.Allow{From: "sites", To: "100.64.0.1/32", Ports: []string{"tcp/80"}})
		try(t, h, table, []way{{"pc", "198.51.100.20", "tcp/80 udp/80", ""}, {"pc", "198.51.100.1", "tcp/80", ""},
			{"pc", "192.168.20.20", "icmp", ""}, {"pc", "2001:db8:20::20", "icmp", ""}, {"pc", "100.64.0.1", "tcp/80 icmp", ""}})
		for _, ways := range [][]way{
			both("pc", "198.51.100.20", "2001:db8:51::20", "tcp/9100 icmp", tunnels.RefusedNotListed),
			both("pc", "192.168.20.20", "2001:db8:20::20", "tcp/80 udp/80", tunnels.RefusedSiteToSite),
			{{"pc", "100.64.0.1", "tcp/9100", tunnels.RefusedIntoGateway}},
		} {
			try(t, h, table, ways)
		}
	})
}

// A gateway's address in the network is there for the network: nobody else
// reaches it, and nothing leaves from it for anybody else.
func TestOwnAddressStays(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	converge(t, h, siteSpec)
	sh(t, "ip -n pc route add 100.64.0.7 via 192.168.10.1")
	try(t, h, "ginnel_kestrel", []way{{"pc", "100.64.0.7", "icmp", tunnels.RefusedSpoofed}})
	before := refused(t, h, "ginnel_kestrel")[tunnels.RefusedAstray]
	sh(t, "ping -c1 -W1 -I 100.64.0.7 192.168.10.20 && exit 1 || true")
	if after := refused(t, h, "ginnel_kestrel")[tunnels.RefusedAstray]; after == before {
		t.Error("what left from that address for the LAN was not counted")
	}
	if !connects(t, "pc", "192.168.10.1", "icmp") {
		t.Error("the gateway's address in the LAN is silent as well")
	}
	sh(t, "ip addr add 100.64.0.7/32 dev lan")
	facts, err := h.Facts(t.Context(), siteSpec)
	must(t, err)
	want, problems := tunnels.Want(siteSpec, facts, literal)
	apply(t, h, want.Filters[0])
	if !connects(t, "pc", "100.64.0.7", "icmp") || len(problems) != 1 {
		t.Errorf("an address that the LAN's link has too is silent there: problems %v", problems)
	}
}

// What says that it is from behind the hub, and came by the line, reaches neither
// the LAN nor the gateway's address in the network.
func TestForgedFromTheLine(t *testing.T) {
	if !apart(t) {
		return
	}
	dual(t)
	site, _ := ends()
	h := open(t)
	converge(t, h, site)
	// The hub's machine speaks beside its tunnel, as anybody on the line could.
	sh(t, `set -e; echo 1 > /proc/sys/net/ipv4/conf/wan/forwarding
		ip -n hub addr add 100.64.0.1/32 dev lo; ip -n hub route add 192.168.10.0/24 via 192.0.2.2 src 100.64.0.1
		ip -n hub route add 100.64.0.7 via 192.0.2.2 src 100.64.0.1`)
	try(t, h, "ginnel_kestrel", []way{{"hub", "192.168.10.20", most, tunnels.RefusedSpoofed}, {"hub", "100.64.0.7", most, tunnels.RefusedSpoofed}})
}

// Without our rules the host's own routing would send the network's traffic to the
// line in the clear: on a host that forwards by itself the filter says no.
func TestNothingGoesAroundTheTunnels(t *testing.T) {
	if !apart(t) {
		return
	}
	dual(t)
	sh(t, "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	site, hub := ends()
	h := open(t)
	converge(t, h, site)
	at(t, "hub", func(hubHost *Host) { converge(t, hubHost, hub) })
	try(t, h, "ginnel_kestrel", both("pc", "198.51.100.20", "2001:db8:51::20", most, ""))
	sh(t, "ip rule flush proto 103; ip -6 rule flush proto 103")
	try(t, h, "ginnel_kestrel", both("pc", "198.51.100.20", "2001:db8:51::20", most, tunnels.RefusedAstray))
}

// Two sites have the same LAN. The network knows one of them by another prefix,
// both ways.
func TestMappedLAN(t *testing.T) {
	if !apart(t) {
		return
	}
	dual(t)
	sh(t, `set -e
		for ns in bittern pc2; do ip netns add $ns; ip -n $ns link set lo up; done
		ip link add uplink type veth peer name wan netns bittern; ip link set uplink netns hub; ip -n hub link set uplink up
		ip -n bittern link set wan up; ip -n hub addr add 192.0.2.5/31 dev uplink; ip -n bittern addr add 192.0.2.4/31 dev wan
		ip -n bittern route add default via 192.0.2.5
		ip -n bittern link add lan type veth peer name eth0 netns pc2; ip -n bittern link set lan up; ip -n pc2 link set eth0 up
		ip -n bittern addr add 192.168.10.1/24 dev lan; ip -n bittern addr add 2001:db8:10::1/64 dev lan nodad
		ip -n pc2 addr add 192.168.10.20/24 dev eth0; ip -n pc2 addr add 2001:db8:10::20/64 dev eth0 nodad
		ip -n pc2 route add default via 192.168.10.1; ip -n pc2 route add default via 2001:db8:10::1`)
	serve(t, "pc2", 80, 9100)
	site, hub := ends(tunnels.Allow{From: "198.51.100.20/32", To: "sites", Ports: []string{"tcp/80"}},
		tunnels.Allow{From: "198.51.100.0/24", To: "100.64.120.20/32", Ports: []string{"tcp/9100"}},
		tunnels.Allow{From: "198.51.100.0/24", To: "192.168.10.20/32", Ports: []string{"udp/9100"}}, // of avocet only
		tunnels.Allow{From: "2001:db8:51::/64", To: "2001:db8:120::/64", Ports: []string{"udp/80", "icmp"}})
	bittern := tunnels.Spec{Networks: slices.Clone(site.Networks)}
	n := &bittern.Networks[0]
	n.Addresses, n.Ingress = prefixes("100.64.0.8/32", "2001:db8:64::8/128"), nil
	n.Map = []tunnels.Map{{LAN: prefixes("192.168.10.0/24")[0], As: prefixes("100.64.120.0/24")[0]},
		{LAN: prefixes("2001:db8:10::/64")[0], As: prefixes("2001:db8:120::/64")[0]}}
	n.Devices = slices.Clone(n.Devices)
	n.Devices[0].Device, n.Devices[0].PrivateKey = "gn-bittern", worldKey
	n.Devices[0].Peers = slices.Clone(n.Devices[0].Peers)
	n.Devices[0].Peers[0].Endpoints = []string{"192.0.2.5:51820"}
	hub.Networks[0].Devices[0].Peers = append(hub.Networks[0].Devices[0].Peers, tunnels.PeerSpec{Name: "bittern-1", PublicKey: worldKey.Public(),
		AllowedIPs: prefixes("100.64.0.8/32", "2001:db8:64::8/128", "100.64.120.0/24", "2001:db8:120::/64")})

	converge(t, open(t), site)
	at(t, "hub", func(h *Host) { converge(t, h, hub) })
	at(t, "bittern", func(h *Host) {
		converge(t, h, bittern)
		const table = "ginnel_kestrel"
		try(t, h, table, slices.Concat(
			both("pc", "198.51.100.20", "2001:db8:51::20", most, ""),
			both("pc2", "198.51.100.20", "2001:db8:51::20", most, ""),
			[]way{{"service", "192.168.10.20", "tcp/80 udp/9100", ""}, {"service", "100.64.120.20", "tcp/80 tcp/9100", ""},
				{"service", "2001:db8:120::20", "udp/80 icmp", ""}}))
		sh(t, "ip netns exec hub nft delete table inet ginnel_kestrel") // what follows is for bittern to refuse
		try(t, h, table, []way{{"service", "100.64.120.20", "udp/80 udp/9100 icmp", tunnels.RefusedIntoLAN},
			{"service", "2001:db8:120::20", "tcp/80", tunnels.RefusedIntoLAN}})
	})
	// The service sees each by the address that the network knows.
	for from, want := range map[string]string{"pc": "192.168.10.20", "pc2": "100.64.120.20"} {
		if got := seenAs(t, from, "198.51.100.20:7777"); got != want {
			t.Errorf("the service sees %s as %s, want %s", from, got, want)
		}
	}
	for from, want := range map[string]string{"pc": "2001:db8:10::20", "pc2": "2001:db8:120::20"} {
		if got := seenAs(t, from, "[2001:db8:51::20]:7777"); got != want {
			t.Errorf("the service sees %s as %s, want %s", from, got, want)
		}
	}
}

// seenAs is the address that the service sees of somebody.
func seenAs(t *testing.T, from, to string) (address string) {
	t.Helper()
	var l net.Listener
	within(t, "service", func() {
		var err error
		l, err = net.Listen("tcp", to)
		must(t, err)
	})
	defer l.Close()
	within(t, from, func() {
		c, err := net.DialTimeout("tcp", to, 5*time.Second)
		if err == nil {
			defer c.Close()
		}
	})
	l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Second))
	c, err := l.Accept()
	must(t, err)
	defer c.Close()
	return c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()
}
