package host

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

func apply(t *testing.T, h *Host, f tunnels.Filter) {
	t.Helper()
	must(t, h.Apply(t.Context(), tunnels.Step{Op: tunnels.Add, Kind: tunnels.FilterKind, Filter: &f}))
}

// heard tells which of the senders' datagrams to a UDP port here arrive. Each
// sender sends until the last one, whom nothing keeps out, is heard.
func heard(t *testing.T, port int, senders ...func()) map[string]bool {
	t.Helper()
	c, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
	must(t, err)
	defer c.Close()
	got := map[string]bool{}
	buf := make([]byte, 100)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && !got["open"]; {
		for _, send := range senders {
			send()
		}
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				break
			}
			got[string(buf[:n])] = true
		}
	}
	return got
}

func datagram(t *testing.T, ns, to, text string) func() {
	return func() {
		t.Helper()
		within(t, ns, func() {
			c, err := net.Dial("udp4", to)
			if err != nil {
				t.Errorf("from %s: %v", ns, err)
				return
			}
			defer c.Close()
			c.Write([]byte(text))
		})
	}
}

// Promise 1: nothing of ours answers on the LAN.
func TestPortIsReachedFromUplinksOnly(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	sh(t, "ip -n hub route add 192.168.10.0/24 via 192.0.2.2")
	filter := tunnels.Filter{Table: "ginnel_kestrel", Devices: []string{"gn-site"}, Uplinks: []string{"wan"}, Ports: []int{51821, 51999}}
	apply(t, h, filter)
	local := func() {
		c, err := net.Dial("udp4", "127.0.0.1:51821")
		must(t, err)
		defer c.Close()
		c.Write([]byte("local"))
	}
	got := heard(t, 51821, datagram(t, "pc", "192.168.10.1:51821", "lan"), datagram(t, "pc", "192.0.2.2:51821", "lan to wan's address"),
		local, datagram(t, "hub", "192.0.2.2:51821", "open"))
	if want := (map[string]bool{"local": true, "open": true}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("heard %v, want %v", got, want)
	}
	if counted := sh(t, "nft list table inet ginnel_kestrel | grep 'udp dport'"); strings.Contains(counted, "packets 0 ") {
		t.Errorf("the drops were not counted: %s", counted)
	}
	if got := heard(t, 51000, datagram(t, "pc", "192.168.10.1:51000", "lan"), datagram(t, "hub", "192.0.2.2:51000", "open")); !got["lan"] {
		t.Error("a port that is not ours is closed")
	}
	filter.Uplinks = nil // as the boot guard writes it
	apply(t, h, filter)
	if got := heard(t, 51821, datagram(t, "hub", "192.0.2.2:51821", "wan"), func() { local() },
		func() {
			c, _ := net.Dial("udp4", "127.0.0.1:51821")
			defer c.Close()
			c.Write([]byte("open"))
		}); got["wan"] {
		t.Error("without uplinks the port is reached from the WAN")
	}
}

func pings(t *testing.T, from, to string) bool {
	t.Helper()
	return strings.Contains(sh(t, "ip netns exec "+from+" ping -c2 -i0.2 -W1 "+to+" || true"), " 0% packet loss")
}

// Promise 3: networks do not mix, in either direction.
func TestNetworksDoNotMix(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	// Three ends of tunnels, two of one network, and a LAN.
	sh(t, "echo 1 > /proc/sys/net/ipv4/ip_forward")
	for i, link := range []string{"gn-a1", "gn-a2", "gn-b", "lan"} {
		sh(t, fmt.Sprintf(`set -e; ip netns add n%[1]d; ip link add %[2]s type veth peer name eth0 netns n%[1]d
			ip addr add 192.168.%[1]d.1/24 dev %[2]s; ip link set %[2]s up
			ip -n n%[1]d addr add 192.168.%[1]d.2/24 dev eth0; ip -n n%[1]d link set eth0 up; ip -n n%[1]d route add default via 192.168.%[1]d.1`, i, link))
	}
	all := func() string {
		table := []byte("... ... ... ... ")
		var wg sync.WaitGroup
		for i, c := range table {
			from, to := i/4, i%4
			if to >= from {
				to++
			}
			if c == '.' {
				wg.Go(func() {
					table[i] = map[bool]byte{true: '+', false: '-'}[pings(t, fmt.Sprintf("n%d", from), fmt.Sprintf("192.168.%d.2", to))]
				})
			}
		}
		wg.Wait()
		return string(table)
	}
	if got := all(); got != "+++ +++ +++ +++ " {
		t.Fatalf("without us: %s", got)
	}
	f := tunnels.Filter{Table: "ginnel_a", Devices: []string{"gn-a1", "gn-a2"}, Ingress: []string{"lan"}, LAN: prefixes("192.168.3.0/24")}
	for _, c := range []struct {
		role     tunnels.Role
		in, out  bool
		picture  string
		refusals string
	}{ // rows are who asks, columns who is asked: a1, a2, b, lan
		{tunnels.Site, false, true, "--- --- --+ +++ ", "[astray into-lan other-network]"},
		{tunnels.Hub, true, false, "--+ --+ --+ --+ ", "[into-sites other-network site-to-site]"},
		{"", false, false, "--- --- --+ --+ ", "[astray into-lan not-listed other-network]"},
	} {
		f.Role, f.AnyIn, f.AnyOut = c.role, c.in, c.out
		apply(t, h, f)
		if got := all(); got != c.picture {
			t.Errorf("as %q: %s, want %s", c.role, got, c.picture)
		}
		if got := refused(t, h, f.Table); fmt.Sprint(slices.Sorted(maps.Keys(got))) != c.refusals {
			t.Errorf("as %q refused %v, want %s", c.role, got, c.refusals)
		}
	}
	// On one link, what is no LAN of the network's is none of its business.
	f.Role, f.AnyIn, f.AnyOut, f.LAN = tunnels.Hub, true, true, prefixes("192.168.3.3/32")
	apply(t, h, f)
	sh(t, "ip -n n3 addr add 192.168.3.3/24 dev eth0; ip -n n3 route add 192.168.0.0/24 via 192.168.3.1 src 192.168.3.3")
	if !pings(t, "n0", "192.168.3.3") || pings(t, "n0", "192.168.3.2") || !pings(t, "n3", "192.168.0.2") || pings(t, "n3", "-I 192.168.3.2 192.168.0.2") {
		t.Error("the LAN, and nothing beside it on its link: that is not how it is")
	}
	// Hub of one network and site of another, for the same LAN.
	f.AnyOut, f.LAN = false, prefixes("192.168.3.0/24")
	apply(t, h, f)
	apply(t, h, tunnels.Filter{Table: "ginnel_b", Role: tunnels.Site, Devices: []string{"gn-b"}, Ingress: []string{"lan"}, LAN: f.LAN, AnyOut: true})
	if got := all(); got != "--+ --+ --- --+ " {
		t.Errorf("hub of a, site of b: %s", got)
	}
	sh(t, "nft delete table inet ginnel_b")

	f.Ingress = nil // as the boot guard writes it
	apply(t, h, f)
	if got := all(); got != "--- --- --+ --+ " {
		t.Errorf("as the guard: %s", got)
	}
}

// refused is how many packets a table has refused, by rule.
func refused(t *testing.T, h *Host, table string) map[string]uint64 {
	t.Helper()
	all, err := h.filters()
	must(t, err)
	counted := map[string]uint64{}
	for _, f := range all {
		for _, r := range f.Refused {
			if f.Table == table {
				counted[r.Rule] = r.Packets
			}
			if tunnels.RefusalText(r.Rule) == "" {
				t.Errorf("%s is refused without a word", r.Rule)
			}
		}
	}
	return counted
}

// A host that did not forward forwards for us only.
func TestForwardsOursOnly(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	sh(t, `ip -n hub route add 192.168.10.0/24 via 192.0.2.2
		ip -n hub addr add 2001:db8:2::1/64 dev wan nodad; ip addr add 2001:db8:2::2/64 dev wan nodad
		ip -n hub route add default via 2001:db8:2::2
		ip -n pc addr add 2001:db8:10::20/64 dev eth0 nodad; ip -n pc -6 route add default via 2001:db8:10::1`)
	if pings(t, "pc", "192.0.2.1") || pings(t, "pc", "2001:db8:2::1") {
		t.Fatal("this host forwards by itself: the test tests nothing")
	}
	sh(t, "echo 1 > /proc/sys/net/ipv4/conf/lan/forwarding; echo 1 > /proc/sys/net/ipv4/conf/wan/forwarding; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	if !pings(t, "pc", "192.0.2.1") || !pings(t, "pc", "2001:db8:2::1") || !pings(t, "hub", "192.168.10.20") {
		t.Fatal("this host forwards nothing at all: the test tests nothing")
	}
	apply(t, h, tunnels.Filter{Table: "ginnel_kestrel", Only: []string{"lan"}, Only6: true})
	if pings(t, "pc", "192.0.2.1") {
		t.Error("IPv4 is forwarded from the LAN to the WAN because of us")
	}
	if pings(t, "pc", "2001:db8:2::1") || pings(t, "hub", "2001:db8:10::20") {
		t.Error("IPv6 is forwarded between LAN and WAN because of us")
	}
	if !pings(t, "hub", "192.168.10.20") {
		t.Error("replies to what another link forwards are dropped")
	}
	// What goes into a tunnel passes, and what comes out of one.
	sh(t, `set -e; ip netns add far; ip link add gn-x type veth peer name eth0 netns far; ip addr add 100.64.0.1/30 dev gn-x; ip link set gn-x up
		ip addr add 2001:db8:64::1/64 dev gn-x nodad; ip -n far addr add 2001:db8:64::2/64 dev eth0 nodad
		ip -n far addr add 100.64.0.2/30 dev eth0; ip -n far link set eth0 up; ip -n far route add default via 100.64.0.1
		ip -n far -6 route add default via 2001:db8:64::1; echo 1 > /proc/sys/net/ipv4/conf/gn-x/forwarding`)
	for _, p := range [][2]string{{"pc", "100.64.0.2"}, {"pc", "2001:db8:64::2"}, {"far", "192.168.10.20"}, {"far", "2001:db8:10::20"}} {
		eventually(t, p[0]+" reaches "+p[1], func() bool { return pings(t, p[0], p[1]) })
	}
	// What forwarded before us still does.
	apply(t, h, tunnels.Filter{Table: "ginnel_kestrel"})
	if !pings(t, "pc", "192.0.2.1") || !pings(t, "pc", "2001:db8:2::1") {
		t.Error("a filter with nothing to say stops traffic")
	}
}

// replaceRule puts another rule in the place of the first with a word, with the
// comment of the one that was there.
func replaceRule(chain, word, by string) string {
	return fmt.Sprintf(`rule=$(nft -a list chain inet ginnel_kestrel %[1]s | grep -m1 '%[2]s.*comment')
		nft "replace rule inet ginnel_kestrel %[1]s handle ${rule##*handle } %[3]s $(echo "$rule" | grep -o 'comment "[^"]*"')"`, chain, word, by)
}

// A table that somebody has changed is known for it, and is written anew.
func TestChangedTableIsNoticed(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	f := tunnels.Filter{Network: "kestrel", Table: "ginnel_kestrel", Role: tunnels.Hub, Devices: []string{"gn-a"}, MTU: 1420,
		Ingress: []string{"lan"}, LAN: prefixes("192.168.10.0/24", "192.168.11.0/24", "192.168.12.0/25", "2001:db8:10::/64"),
		Own: prefixes("100.64.0.1/32", "2001:db8:64::1/128"), Uplinks: []string{"wan"}, Ports: []int{51820}, Only: []string{"lan"}, Only6: true,
		Maps: []tunnels.Map{{LAN: prefixes("192.168.10.0/24")[0], As: prefixes("100.64.120.0/24")[0]}},
		In:   []tunnels.Opening{{To: prefixes("192.168.10.20/32"), Ports: []string{"tcp/443", "tcp/80", "icmp"}}},
		Out:  []tunnels.Opening{{From: prefixes("192.168.10.0/24"), To: prefixes("192.168.20.0/24"), Ports: []string{"udp/53"}}}}
	digest := func() string {
		all, err := h.filters()
		must(t, err)
		if len(all) != 1 || all[0].Table != f.Table {
			t.Fatalf("tables: %+v", all)
		}
		return all[0].Digest
	}
	apply(t, h, f)
	if digest() != f.Sum() {
		t.Fatalf("digest is %q, want %q", digest(), f.Sum())
	}
	for _, change := range []string{
		"nft flush chain inet ginnel_kestrel forward",
		"nft flush table inet ginnel_kestrel",
		"nft delete chain inet ginnel_kestrel output",
		// The same rules in another order, and the same chain elsewhere.
		`nft "$(nft -s list chain inet ginnel_kestrel gateway | grep 'echo-request' | head -1 | sed 's/^/insert rule inet ginnel_kestrel gateway /')" &&
			nft delete rule inet ginnel_kestrel gateway handle $(nft -a list chain inet ginnel_kestrel gateway | grep echo-request | sed -n '2s/.*handle //p')`,
		`nft delete chain inet ginnel_kestrel output; nft 'add chain inet ginnel_kestrel output { type filter hook output priority 10; }'
			nft add rule inet ginnel_kestrel output 'oifname != "gn-a" oifname != "lo" ip saddr 100.64.0.1 counter drop'`,
		"nft 'add chain inet ginnel_kestrel more { type filter hook forward priority 0; }'",
		"nft insert rule inet ginnel_kestrel forward accept",
		"nft add rule inet ginnel_kestrel input counter comment '\"ginnel x 1/1\"'",
		"nft delete rule inet ginnel_kestrel forward handle $(nft -a list chain inet ginnel_kestrel forward | sed -n 's/.*handle //p' | tail -1)",
		"nft 'add chain inet ginnel_kestrel forward { policy drop; }'",
		"nft 'add table inet ginnel_kestrel { flags dormant; }'",
		replaceRule("forward", "iifname", "accept"),
		replaceRule("in", "counter", "counter accept"),
		// The same but for what is in its set.
		replaceRule("in", "443", "ip daddr 192.168.10.20 tcp dport { 22, 443 } accept"),
		"nft delete table inet ginnel_kestrel; nft add table inet ginnel_kestrel",
	} {
		before := sh(t, "nft -s list ruleset")
		sh(t, change)
		if sh(t, "nft -s list ruleset") == before {
			t.Errorf("%s changed nothing", change)
		}
		if got := digest(); got != "" {
			t.Errorf("after %s the digest is %q", change, got)
		}
		apply(t, h, f)
		if got := digest(); got != f.Sum() {
			t.Errorf("after %s and a repair the digest is %q", change, got)
		}
	}
	text := strings.Join(strings.Fields(regexp.MustCompile(`packets \d+ bytes \d+ | comment "[^"]*"`).ReplaceAllString(
		sh(t, "nft list table inet ginnel_kestrel"), "")), " ")
	for _, want := range []string{ // as a person reads it
		`udp dport 51820 iifname != "lo" iifname != "wan" counter drop`,
		`chain forward { type filter hook forward priority filter; policy accept; iifname "gn-a" goto out_of_tunnel oifname "gn-a" goto into_tunnel`,
		`chain out_of_tunnel { tcp flags syn / syn,rst jump clamp oifname "gn-a" goto across`,
		`iifname != "lo" ip daddr 100.64.0.1 counter drop`,
		`ip daddr { 192.168.10.0-192.168.12.127 } goto in ip6 daddr 2001:db8:10::/64 goto in counter drop`,
		`oifname != "gn-a" oifname != "lo" ip saddr 100.64.0.1 counter drop`,
		`chain in { ct state established,related accept ip daddr 192.168.10.20 meta l4proto icmp accept ip daddr 192.168.10.20 tcp dport { 80, 443 } accept counter drop`,
		`chain out { ct state established,related accept ip saddr 192.168.10.0/24 ip daddr 192.168.20.0/24 udp dport 53 accept counter reject with icmpx admin-prohibited`,
		`chain clamp { meta nfproto ipv4 tcp option maxseg size set 1380 meta nfproto ipv6 tcp option maxseg size set 1360`,
		`ip daddr 100.64.0.1 icmp type echo-request accept`,
		`oifname "gn-a" ip saddr 192.168.10.0/24 snat ip prefix to 100.64.120.0/24`,
		`iifname "gn-a" ip daddr 100.64.120.0/24 dnat ip prefix to 192.168.10.0/24`,
		`oifname != "lan" oifname != "lo" icmp type { destination-unreachable, time-exceeded, parameter-problem } @nh,352,32 { 100.64.0.1, 192.168.10.0-192.168.12.127 } counter drop`,
		`meta nfproto ipv4 iifname "lan" oifname != "gn-*" ct state ! established,related counter drop`,
		`meta nfproto ipv6 iifname != "gn-*" oifname != "gn-*" counter drop`,
	} {
		if !strings.Contains(strings.ReplaceAll(text, "{ 51820 }", "51820"), want) {
			t.Errorf("%s\nis not in\n%s", want, text)
		}
	}
	before := sh(t, "nft -a list ruleset")
	apply(t, h, f)
	if after := sh(t, "nft -a list ruleset"); after != before {
		t.Error("the same again was written")
	}
	bad := f
	bad.Only = []string{"a-link-name-that-is-too-long"}
	if err := h.Apply(t.Context(), tunnels.Step{Op: tunnels.Change, Kind: tunnels.FilterKind, Filter: &bad}); err == nil {
		t.Error("a link name that cannot be was taken")
	}
	if digest() != f.Sum() {
		t.Error("a failed change left something else")
	}
	f.Ports = []int{51821}
	apply(t, h, f)
	if digest() != f.Sum() {
		t.Error("a failed change stands in the way of the next")
	}
}
