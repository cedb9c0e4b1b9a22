package tunnels_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// The world that random States are drawn from is small, so that two of them
// have much in common and differ in every way.
var (
	worldKeys     = makeKeys(8)
	worldSecrets  = []key.Preshared{{}, key.NewPreshared(), key.NewPreshared()}
	worldNames    = []string{"egret", "fulmar", "heron", "kestrel"}
	worldPrefixes = makePrefixes("192.0.2.0/25", "192.0.2.128/25", "198.51.100.0/24", "203.0.113.0/24",
		"192.168.10.0/24", "100.64.0.1/32", "2001:db8:1::/48", "2001:db8:2::/48")
	worldAddresses = makePrefixes("100.64.0.7/32", "100.64.64.7/32", "2001:db8::7/128")
)

func makeKeys(n int) []key.Private {
	var keys []key.Private
	for range n {
		keys = append(keys, key.NewPrivate())
	}
	return keys
}

func makePrefixes(text ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, t := range text {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

// some is a random choice of a list's elements, in random order.
func some[T any](r *rand.Rand, list []T) []T {
	var chosen []T
	for _, i := range r.Perm(len(list)) {
		if r.IntN(2) == 0 {
			chosen = append(chosen, list[i])
		}
	}
	return chosen
}

// randomState is any State that a Spec could ask for: what no host can have
// (two devices on a port, a prefix of two peers of one device) is not in it.
func randomState(seed uint64) tunnels.State {
	r := rand.New(rand.NewPCG(seed, 7))
	var s tunnels.State
	ports := r.Perm(8)
	for i, network := range worldNames {
		if r.IntN(4) == 0 {
			continue
		}
		table := 7101 + i
		for j := range r.IntN(3) {
			d := randomDevice(r, network, fmt.Sprintf("gn-%s-%d", network[:2], j), ports[i*2+j])
			s.Devices = append(s.Devices, d)
			s.Settings = append(s.Settings, tunnels.Setting{Network: network, Path: "net/ipv4/conf/" + d.Name + "/forwarding", Value: "1"})
		}
		s.Routes = append(s.Routes, randomRoutes(r, network, table, s.Devices)...)
		for k, p := range some(r, worldPrefixes) {
			s.Rules = append(s.Rules, tunnels.Rule{Network: network, Family: 4, Priority: 5000 + 32*i + k, From: p, Table: table})
		}
		f := tunnels.Filter{Network: network, Table: tunnels.FilterTable(network), Uplinks: some(r, []string{"eth0", "wwan0"})}
		f.Digest = f.Sum()
		s.Filters = append(s.Filters, f)
	}
	for _, path := range some(r, []string{"net/ipv4/conf/eth1/forwarding", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/eth0/accept_ra"}) {
		s.Settings = append(s.Settings, tunnels.Setting{Path: path, Value: fmt.Sprint(1 + r.IntN(2))})
	}
	r.Shuffle(len(s.Devices), func(i, j int) { s.Devices[i], s.Devices[j] = s.Devices[j], s.Devices[i] })
	return s
}

func randomDevice(r *rand.Rand, network, name string, port int) tunnels.Device {
	private := worldKeys[r.IntN(2)]
	d := tunnels.Device{Network: network, Name: name, Up: true, MTU: 1400 + 20*r.IntN(2), PrivateKey: private,
		PublicKey: private.Public(), Addresses: some(r, worldAddresses)}
	if r.IntN(2) == 0 {
		d.ListenPort = 51820 + port
	}
	free := some(r, worldPrefixes)
	for _, k := range some(r, worldKeys[2:]) {
		p := tunnels.Peer{Name: "hub-" + k.Public().String()[:2], PublicKey: k.Public(), PresharedKey: worldSecrets[r.IntN(3)],
			Keepalive: time.Duration(r.IntN(2)) * 25 * time.Second}
		n := r.IntN(len(free) + 1)
		p.AllowedIPs, free = free[:n:n], free[n:]
		if r.IntN(3) > 0 {
			p.Endpoint = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(3))}), 51820)
		}
		if r.IntN(3) > 0 && p.Endpoint.IsValid() {
			p.Alternatives = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(3))}), 51820)}
		}
		d.Peers = append(d.Peers, p)
	}
	return d
}

func randomRoutes(r *rand.Rand, network string, table int, devices []tunnels.Device) []tunnels.Route {
	var routes []tunnels.Route
	var ours []tunnels.Device
	for _, d := range devices {
		if d.Network == network {
			ours = append(ours, d)
		}
	}
	for _, p := range some(r, worldPrefixes) {
		routes = append(routes, tunnels.Route{Network: network, Table: table, Prefix: p, Unreachable: true, Metric: tunnels.UnreachableMetric})
		if len(ours) == 0 {
			continue
		}
		route := tunnels.Route{Network: network, Table: table, Prefix: p, Device: ours[r.IntN(len(ours))].Name, Metric: tunnels.RouteMetric}
		if r.IntN(2) == 0 {
			route.Source = worldAddresses[0].Addr()
		}
		routes = append(routes, route)
	}
	return routes
}
