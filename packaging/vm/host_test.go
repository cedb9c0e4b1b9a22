package vm_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// What the host's kernel has, lacks or forbids.

// TestWithoutIPv6 has a machine whose kernel was told to have no IPv6.
func TestWithoutIPv6(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine in software emulation: make test runs it")
	}
	t.Parallel()
	lab := t.TempDir()
	s := &site{t: t, m: start(t, lab, addPackages, "ipv6.disable=1")}
	defer func() { keep(t, s.rows, named("no IPv6: ")) }()
	s.prefix = "no IPv6: "
	s.step("a hub and a LAN are there", s.surroundings)
	s.step("install offline: dpkg -i of all packages", s.install)
	s.step("enrol with a site pack, config by push", s.enrol)
	s.step("tunnel up, kernel WireGuard, checks up", s.up("kernel WireGuard"))
	s.step("a config that asks for IPv6 as well: IPv4 goes on, and it is said", s.sixAsked)
	s.step("packets lost over systemctl restart, kernel", s.lossless("systemctl restart ginnel"))
	s.step("remove: nothing of ours works any more", s.remove)
}

// six is shell that prints the site's config with IPv6 beside IPv4. No fleet has
// both in one network: it comes by stick.
const six = `six() { sed -e 's|^address = .*|address = ["100.64.0.7/32", "2001:db8:64::7/128"]|' \
	-e 's|^lan = .*|lan = ["192.168.10.0/24", "2001:db8:10::/64"]|' \
	-e 's|^allowed_ips = .*|allowed_ips = ["100.64.0.1/32", "198.51.100.0/24", "2001:db8:64::1/128", "2001:db8:20::/64"]|' /root/four.toml; }
`

func (s *site) sixAsked(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, "set -e\ncp /var/lib/ginnel/last-good.toml /root/four.toml\n"+six+`
six | stick
ginnel status --wait 120s
ip netns exec pc ping -c 3 -i 0.2 -W 5 198.51.100.20
journalctl -b -u ginnel | grep 'not all of the config can be had here' | grep -i ipv6
stick </root/four.toml`)
}

// withoutNftables keeps nf_tables from being loaded, and looks that nothing is
// started; then lets it be loaded again.
func (s *site) withoutNftables(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `set -e
systemctl stop ginnel
ginnel cleanup
test -z "$(nft list ruleset)"
echo 'install nf_tables /bin/false' >/etc/modprobe.d/no-nftables.conf
for i in 1 2 3 4 5; do sleep 0.5; for m in $(lsmod | awk '/^nft|^nf_tables/ { print $1 }'); do rmmod $m 2>/dev/null || true; done; done
if lsmod | grep '^nf_tables'; then lsmod | grep nf_; exit 1; fi
host() { traces 2>/dev/null | sed '/^# users/,$d'; }
host >/root/bare
systemctl start ginnel; sleep 2
code=0; ginnel plan >/root/said 2>&1 || code=$?
cat /root/said
[ $code = 1 ]
grep -c . /root/said | grep -x 2
grep 'the kernel has no nftables, which keep networks apart' /root/said
grep 'hint: modprobe nf_tables' /root/said
for i in $(seq 60); do # what was up before the restart is so until three probes have failed
	ginnel status >/root/said 2>&1 || true
	grep -q 'the kernel has no nftables' /root/said && break
	sleep 1
done
cat /root/said
grep 'the kernel has no nftables' /root/said
host | diff /root/bare -
rm /etc/modprobe.d/no-nftables.conf
ginnel status --wait 150s
ip netns exec pc ping -c 1 -W 5 198.51.100.20`)
}

// strict has the host be strict about where packets come from, on a line that
// takes its time.
func (s *site) strict(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `set -e
sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter net.ipv4.conf.wan0.rp_filter net.ipv4.conf.lan0.rp_filter >/root/rp
sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1 net.ipv4.conf.wan0.rp_filter=1 net.ipv4.conf.lan0.rp_filter=1
tc qdisc add dev wan0 root netem delay 20ms
ip netns exec hub tc qdisc add dev hub0 root netem delay 20ms
systemctl restart ginnel
ginnel status --wait 120s
ip netns exec pc ping -c 5 -i 0.2 -W 5 198.51.100.20 | tee /root/said
grep 'time=[4-9][0-9]' /root/said
sysctl -n net.ipv4.conf.wan0.rp_filter net.ipv4.conf.lan0.rp_filter net.ipv4.conf.all.rp_filter | sort -u | grep -x 1
cat /proc/sys/net/ipv4/conf/gn-*/rp_filter | sort -u | grep -x 2
tc qdisc del dev wan0 root; ip netns exec hub tc qdisc del dev hub0 root
sysctl -q -p /root/rp`)
}

// forwarding looks at the host as a router: a default route learnt from an
// advertisement stays, what was forwarded before still is, and nothing else is
// than what is ours.
func (s *site) forwarding(ctx context.Context) (string, error) {
	if err := s.quiet(ctx, strayWays); err != nil {
		return "", err
	}
	out, err := s.run(ctx, "set -e\n"+passes+six+`
systemctl start ginnel
ginnel status --wait 120s
six | stick
ginnel status --wait 120s
ip netns exec pc ping -c 2 -i 0.2 -W 5 198.51.100.20
ip netns exec pc ping -c 2 -i 0.2 -W 5 2001:db8:20::20
sysctl net.ipv6.conf.all.forwarding net.ipv6.conf.ra0.accept_ra net.ipv4.conf.lan0.forwarding net.ipv4.conf.wan0.forwarding
sleep 3; ip -6 route show default dev ra0
before >/dev/null && echo BEFORE-GOES-ON
echo STRAY $(stray)
systemctl stop ginnel; ginnel cleanup
ip -6 route show default dev ra0 | sed 's/^/after: /'
sysctl net.ipv6.conf.all.forwarding net.ipv6.conf.ra0.accept_ra net.ipv4.conf.lan0.forwarding | sed 's/^/after: /'
before >/dev/null && echo BEFORE-STILL-GOES-ON
ip netns exec hub nft delete table inet look
kill $(cat /root/advertise.pid); for n in isp a b; do ip netns del $n; done
ip -6 addr del 2001:db8:10::1/64 dev lan0
systemctl start ginnel; stick </root/four.toml; ginnel status --wait 120s`)
	if err != nil {
		return "", err
	}
	for _, want := range []string{
		"net.ipv6.conf.all.forwarding = 1", "net.ipv6.conf.ra0.accept_ra = 2", "net.ipv4.conf.lan0.forwarding = 1",
		"\ndefault via fe80::", "\nBEFORE-GOES-ON", "\nSTRAY 0 0\n",
		"after: default via fe80::", "after: net.ipv6.conf.all.forwarding = 0", "after: net.ipv6.conf.ra0.accept_ra = 1",
		"after: net.ipv4.conf.lan0.forwarding = 0", "\nBEFORE-STILL-GOES-ON",
	} {
		if !strings.Contains(out, want) {
			return "", fmt.Errorf("%q is not in:\n%s", want, out)
		}
	}
	return "", nil
}

// passes is shell that knows two ways beside ours: one that this host forwards by
// itself, and one, per family, that nobody asked for. stray prints how many
// packets of the LAN were seen at the ends of the latter.
const passes = `before() { ip netns exec a ping -c 2 -i 0.2 -W 5 10.2.0.2; }
stray() {
	ip netns exec pc ping -c 3 -i 0.2 -W 1 192.0.2.1 >/dev/null || true
	ip netns exec pc ping -c 3 -i 0.2 -W 1 2001:db8:5::1 >/dev/null || true
	for n in hub isp; do ip netns exec $n nft reset counters table inet look | awk '/packets/ { print $2 }'; done
}
`

// strayWays makes the links for that, and shows that a stray packet would be
// seen: with forwarding on and nothing of ours there.
const strayWays = "set -e\n" + passes + `
cp /var/lib/ginnel/last-good.toml /root/four.toml
systemctl stop ginnel; ginnel cleanup
for n in isp a b; do ip netns add $n; ip -n $n link set lo up; done
ip link add ra0 type veth peer name ra1 netns isp
ip link add a0 type veth peer name a1 netns a
ip link add b0 type veth peer name b1 netns b
for l in ra0 a0 b0; do ip link set $l up; done
ip -n isp link set ra1 up; ip -n a link set a1 up; ip -n b link set b1 up
ip -n isp addr add 2001:db8:5::1/64 dev ra1 nodad
ip addr add 10.1.0.1/24 dev a0; ip -n a addr add 10.1.0.2/24 dev a1; ip -n a route add default via 10.1.0.1
ip addr add 10.2.0.1/24 dev b0; ip -n b addr add 10.2.0.2/24 dev b1; ip -n b route add default via 10.2.0.1
sysctl -qw net.ipv4.conf.a0.forwarding=1 net.ipv4.conf.b0.forwarding=1
ip -6 addr add 2001:db8:10::1/64 dev lan0 nodad
ip -n pc addr add 2001:db8:10::20/64 dev pc0 nodad; ip -n pc -6 route add default via 2001:db8:10::1
ip -n hub addr add 2001:db8:64::1/128 dev wg0; ip -n hub addr add 2001:db8:20::20/64 dev lo nodad
ip -n hub -6 route add 2001:db8:64::7/128 dev wg0; ip -n hub -6 route add 2001:db8:10::/64 dev wg0
ip netns exec hub wg set wg0 peer "$(cat /root/site.pub)" allowed-ips 100.64.0.7/32,192.168.10.0/24,2001:db8:64::7/128,2001:db8:10::/64
setsid ip netns exec isp /lab/hand advertise ra1 2001:db8:5:: >/dev/null 2>&1 &
echo $! >/root/advertise.pid
for n in hub isp; do ip netns exec $n nft -f - <<NFT
table inet look {
	counter seen {}
	chain input { type filter hook input priority 0; iifname { hub0, ra1 } ip saddr 192.168.10.20 counter name seen; iifname { hub0, ra1 } ip6 saddr 2001:db8:10::20 counter name seen; }
}
NFT
done
for i in $(seq 150); do ip -6 route show default dev ra0 | grep -q 'proto ra' && break; sleep 0.2; done
ip -6 route show default dev ra0 | grep 'proto ra'
before
sysctl -qw net.ipv4.conf.lan0.forwarding=1 net.ipv4.conf.wan0.forwarding=1 net.ipv6.conf.ra0.accept_ra=2 net.ipv6.conf.all.forwarding=1
stray >/root/stray
sysctl -qw net.ipv4.conf.lan0.forwarding=0 net.ipv4.conf.wan0.forwarding=0 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.ra0.accept_ra=1
cat /root/stray
[ "$(awk '$1 >= 3' /root/stray | wc -l)" = 2 ] || { echo "a stray packet would not be seen"; exit 1; }
for i in $(seq 150); do ip -6 route show default dev ra0 | grep -q 'proto ra' && break; sleep 0.2; done
ip -6 route show default dev ra0 | grep 'proto ra'`
