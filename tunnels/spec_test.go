package tunnels_test

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

// network is a site's network with one device for each hub. Both hubs lead to
// the same prefix; hub-north is preferred.
func network(name string, keys int, hubs ...string) tunnels.Network {
	n := tunnels.Network{Name: name, Role: tunnels.Site, Table: 7101 + keys, Priority: 5000 + 32*keys,
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(64 * keys), 7}), 32)},
		LAN:       makePrefixes("192.168.10.0/24")}
	for i, hub := range hubs {
		n.Devices = append(n.Devices, tunnels.Tunnel{Device: "gn-" + name + "-" + hub[4:5], Hub: hub, PrivateKey: worldKeys[keys],
			Peers: []tunnels.PeerSpec{{Name: hub, PublicKey: worldKeys[2+i].Public(), Keepalive: 25 * time.Second,
				Endpoints:  []string{hub + ".example.net:5182" + string('0'+rune(keys))},
				AllowedIPs: makePrefixes([]string{"198.51.100.0/24", "203.0.113.0/24"}[keys])}}})
	}
	return n
}

func site() tunnels.Spec {
	return tunnels.Spec{Networks: []tunnels.Network{
		network("kestrel", 0, "hub-north", "hub-south"), network("heron", 1, "hub-south")}}
}

func hub() tunnels.Spec {
	return tunnels.Spec{Networks: []tunnels.Network{{Name: "kestrel", Role: tunnels.Hub, Table: 7101, Priority: 5000,
		Addresses: makePrefixes("100.64.0.1/32"), LAN: makePrefixes("198.51.100.0/24"),
		Devices: []tunnels.Tunnel{{Device: "gn-kestrel", PrivateKey: worldKeys[0], ListenPort: 51820, Peers: []tunnels.PeerSpec{
			{Name: "avocet-1", PublicKey: worldKeys[2].Public(), AllowedIPs: makePrefixes("100.64.0.7/32", "192.168.10.0/24")},
			{Name: "bittern-1", PublicKey: worldKeys[3].Public(), AllowedIPs: makePrefixes("100.64.0.8/32", "192.168.20.0/24")},
		}}}}}}
}

func facts() tunnels.Facts {
	return tunnels.Facts{Uplinks: []string{"eth0"}, Links: []tunnels.Link{
		{Name: "lo", TakesRA: true},
		{Name: "eth0", Addresses: makePrefixes("192.0.2.77/24"), TakesRA: true},
		{Name: "eth1", Addresses: makePrefixes("192.168.10.1/24")},
		{Name: "eth2", Addresses: makePrefixes("198.51.100.1/24"), Forwarding: true},
	}}
}
