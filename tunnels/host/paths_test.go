package host

import (
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Where the host wants packets to come in by the link that leads back, those of
// the second hub come in too: routes lead to the first.
func TestStrictPaths(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	sh(t, "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter")
	site, hub := ends(tunnels.Allow{From: "198.51.100.0/24", To: "sites", Ports: []string{"icmp"}})
	second := key.NewPrivate()
	n := &site.Networks[0]
	n.Devices = append(slices.Clone(n.Devices), n.Devices[0])
	d := &n.Devices[1]
	d.Device, d.ListenPort, d.Peers = "gn-site2", 51823, slices.Clone(d.Peers)
	d.Peers[0].PublicKey, d.Peers[0].Endpoints = second.Public(), []string{"192.0.2.1:51822"}
	other := tunnels.Network{Name: "south", Role: tunnels.Hub, Table: 7002, Priority: 6000, Addresses: prefixes("100.64.0.2/32"),
		Devices: []tunnels.Tunnel{{Device: "gn-hub2", PrivateKey: second, ListenPort: 51822, Peers: []tunnels.PeerSpec{{Name: "avocet-1",
			PublicKey: siteKey.Public(), AllowedIPs: prefixes("100.64.0.7/32", "192.168.10.0/24")}}}}}
	hub.Networks = append(hub.Networks, other)

	h := open(t)
	before := sh(t, "grep . /proc/sys/net/ipv4/conf/*/rp_filter | grep -v gn-")
	converge(t, h, site)
	at(t, "hub", func(h *Host) { converge(t, h, hub) })
	sh(t, "ip -n hub route add 192.168.10.0/24 dev gn-hub2; ip -n hub rule add from 198.51.100.1 lookup main priority 100")
	comes := func() bool {
		return strings.Contains(sh(t, "ip netns exec hub ping -c1 -W1 -I 198.51.100.1 192.168.10.20 || true"), " 0% packet loss")
	}
	eventually(t, "the second hub's side reaches the LAN", comes)
	sh(t, "echo 0 > /proc/sys/net/ipv4/conf/gn-site2/rp_filter") // as a link has it by itself
	if comes() {
		t.Error("it is reached all the same: the test tests nothing")
	}
	converge(t, h, site)
	if !comes() {
		t.Error("it is not put back")
	}
	if after := sh(t, "grep . /proc/sys/net/ipv4/conf/*/rp_filter | grep -v gn-"); after != before {
		t.Errorf("links of others were changed:\n%s\n%s", before, after)
	}
}

// Ends that announce segments larger than a tunnel carries are told to send
// smaller ones, both of them.
func TestSegmentsFit(t *testing.T) {
	if !apart(t) {
		return
	}
	dual(t)
	site, hub := ends()
	site.Networks[0].Devices[0].MTU, hub.Networks[0].Devices[0].MTU = 1380, 1380
	converge(t, open(t), site)
	at(t, "hub", func(h *Host) { converge(t, h, hub) })
	sh(t, "ip netns exec hub nft delete table inet ginnel_kestrel")
	// What the LAN says of its segments is seen at the service, and the
	// other way round; a size that fits is left as it is.
	sh(t, `for ns in pc service; do ip netns exec $ns nft 'add table inet watch; add chain inet watch c { type filter hook prerouting priority raw; }
		add rule inet watch c ip version 4 tcp flags & syn == syn tcp option maxseg size 1340 counter comment "four"
		add rule inet watch c ip6 version 6 tcp flags & syn == syn tcp option maxseg size 1320 counter comment "six"
		add rule inet watch c tcp flags & syn == syn tcp option maxseg size 536-1000 counter comment "small"
		add rule inet watch c tcp flags & syn == syn tcp option maxseg size 1341-65535 counter comment "large"'; done`)
	for _, to := range []string{"198.51.100.20", "2001:db8:51::20"} {
		soon(t, "the service", func() bool { return connects(t, "pc", to, "tcp/80") })
	}
	sh(t, "ip -n pc route change default via 192.168.10.1 advmss 900")
	soon(t, "the service", func() bool { return connects(t, "pc", "198.51.100.20", "tcp/80") })
	for _, ns := range []string{"pc", "service"} {
		got := sh(t, "ip netns exec "+ns+" nft list table inet watch")
		for line := range strings.Lines(got) {
			counted := !strings.Contains(line, "packets 0 ")
			for what, want := range map[string]bool{`"four"`: true, `"six"`: true, `"small"`: ns == "service", `"large"`: false} {
				if strings.Contains(line, what) && counted != want {
					t.Errorf("at %s: %s", ns, line)
				}
			}
		}
	}
}
