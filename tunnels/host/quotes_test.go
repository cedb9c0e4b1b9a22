package host

import (
	"regexp"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
)

// What a hub says of packets from site to site has the packet in it, and does not
// leave by its line.
func TestHubQuotesNobody(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	// Two sites behind one device, one of whom nobody can reach, and no way back to
	// the other but the line.
	sh(t, `set -e
		ip addr add 2001:db8:2::2/64 dev wan nodad; ip -6 route add default via 2001:db8:2::1; ip -n hub addr add 2001:db8:2::1/64 dev wan nodad
		echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
		ip netns add far; ip link add gn-a address 02:00:5e:00:53:01 type veth peer name eth0 netns far; ip link set gn-a up; ip -n far link set eth0 up
		ip -n far addr add 192.168.30.20/24 dev eth0; ip -n far addr add 2001:db8:30::20/64 dev eth0 nodad
		ip -n far route add default dev eth0; ip -n far -6 route add default dev eth0
		ip -n far neigh add 192.168.40.20 lladdr 02:00:5e:00:53:01 dev eth0
		ip -n far neigh add 2001:db8:40::20 lladdr 02:00:5e:00:53:01 dev eth0
		ip route add 192.168.40.0/24 dev gn-a table 99; ip rule add iif gn-a lookup 99
		ip -6 route add 2001:db8:40::/64 dev gn-a table 99; ip -6 rule add iif gn-a lookup 99`)
	told := func() string {
		sh(t, `ip netns exec hub nft 'add table inet seen; delete table inet seen; add table inet seen
			add chain inet seen in { type filter hook prerouting priority -300; }
			add rule inet seen in icmp type { destination-unreachable, time-exceeded, redirect } counter
			add rule inet seen in icmpv6 type { destination-unreachable, time-exceeded, nd-redirect } counter'
			for a in 192.168.40.20 2001:db8:40::20; do for hops in 1 64; do
			ip netns exec far ping -c 1 -W 4 -t $hops $a >/dev/null & done; done; wait`)
		return strings.Join(regexp.MustCompile(`packets \d+`).FindAllString(sh(t, "ip netns exec hub nft list table inet seen"), -1), ", ")
	}
	if got := told(); got != "packets 2, packets 2" {
		t.Errorf("without us the line sees %s of each family: the test tests nothing", got)
	}
	apply(t, h, tunnels.Filter{Table: "ginnel_a", Role: tunnels.Hub, Devices: []string{"gn-a"}, Across: []tunnels.Opening{{}}})
	if got := told(); got != "packets 0, packets 0" {
		t.Errorf("the line sees %s of each family", got)
	}
}
