package main

import (
	"context"
	"fmt"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
)

// plantForeign gives a gateway a life of its own besides us: links, addresses,
// routes, rules, nftables and sysctls that others made, some as near to ours as
// they can be without being ours. None of it carries the site's traffic.
func plantForeign(ctx context.Context, n *netns.Node, neighbours ...string) error {
	if _, err := n.RunWith(ctx, othersLife, "sh", "-e"); err != nil {
		return err
	}
	for i, network := range neighbours {
		if err := plantBeside(ctx, n, network, i); err != nil {
			return err
		}
	}
	return nil
}

const othersLife = `
ip link add br-other type bridge
ip link add gnat0 type veth peer name gnat1
ip link set gnat0 alias "somebody's own, not ginnel's"
ip link set gnat1 master br-other
ip link add mv-other link gnat0 type macvlan mode bridge
ip link add wg-other type vxlan id 42 dstport 4789 dev gnat0
ip tuntap add other-gn mode tun
for l in br-other gnat0 gnat1 mv-other; do ip link set $l up; done
ip link set gnat0 mtu 1400

ip addr add 192.168.200.1/24 dev br-other
ip addr add 192.168.200.2/24 dev br-other
ip addr add 100.127.0.7/32 dev gnat0
ip neigh add 192.168.200.9 lladdr 02:00:00:00:00:09 dev br-other nud permanent
if ip link set br-other addrgenmode none && echo 0 >/proc/sys/net/ipv6/conf/br-other/disable_ipv6; then
	ip -6 addr add 2001:db8:200::1/64 dev br-other nodad
	ip -6 route add 2001:db8:201::/48 via 2001:db8:200::9 proto 104 metric 5
	ip -6 route add unreachable 2001:db8:202::/48 metric 9 table 999
	ip -6 rule add from 2001:db8:203::/48 lookup 999 priority 4998
fi

ip route add 192.168.201.0/24 via 192.168.200.9 proto 102 metric 7
ip route add 192.168.202.0/24 via 192.168.200.9 proto 104 metric 1024
ip route add blackhole 192.168.203.0/24 proto static
for i in $(seq 0 99); do
	echo "route add 192.168.204.$i/32 via 192.168.200.9 table 998 proto static"
	echo "route add unreachable 192.168.205.$i/32 table 998 proto 104 metric 4294967295"
	echo "rule add from 192.168.206.$i/32 lookup 998 priority $((31000 + i))"
done | ip -batch -
ip rule add fwmark 0x42 lookup 998 priority 4999

nft -f - <<'END'
table inet ginnelish {
	set theirs { type ipv4_addr; flags interval; elements = { 192.168.207.0/24, 192.168.209.7 } }
	map ways { type ifname : verdict; elements = { "br-other" : accept } }
	chain forward { type filter hook forward priority 10; policy accept; ip saddr @theirs counter drop; iifname vmap @ways; }
}
table ip ginnel_kestrel {
	chain postrouting { type nat hook postrouting priority 100; ip saddr 192.168.207.0/24 counter masquerade; }
}
table inet filter {
	chain input { type filter hook input priority 0; policy accept; tcp dport 1 counter reject comment "ginnel 0000000000000000 1/1"; }
}
table arp other {
	chain input { type filter hook input priority 0; policy accept; }
}
END

cd /proc/sys/net/ipv4
echo 1 >conf/br-other/rp_filter
echo 0 >conf/br-other/forwarding
echo 1 >conf/br-other/proxy_arp
echo 2 >conf/gnat0/rp_filter
echo 1 >conf/gnat0/log_martians
echo 21 >igmp_max_memberships
`

// plantBeside puts somebody's routes into the tables before and behind a
// network's, and their rules right before and behind its own.
func plantBeside(ctx context.Context, n *netns.Node, network string, number int) error {
	table, first := tunnels.TableNumber(network), tunnels.RulePriority(network)
	_, err := n.RunWith(ctx, fmt.Sprintf(`route add 198.51.100.0/24 via 192.168.200.9 table %[1]d proto static
route add unreachable 198.51.100.0/24 metric 4278198272 table %[1]d proto 104
route add 203.0.113.0/24 via 192.168.200.9 table %[2]d proto 104
rule add from 192.168.210.%[5]d lookup %[1]d priority %[3]d
rule add from 192.168.211.%[5]d lookup %[2]d priority %[4]d
`, table-1, table+1, first-1, first+tunnels.PrioritySpan, number), "ip", "-batch", "-")
	return err
}
