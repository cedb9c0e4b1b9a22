package tunnels_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// dump is a State as text that one can read aloud.
func dump(s tunnels.State) string {
	var b strings.Builder
	for _, d := range s.Devices {
		fmt.Fprintf(&b, "device %s mtu %d port %d addresses %v\n", d.Name, d.MTU, d.ListenPort, d.Addresses)
		for _, p := range d.Peers {
			fmt.Fprintf(&b, "  peer %s endpoint %v or %v ips %v keepalive %v\n", p.Name, p.Endpoint, p.Alternatives, p.AllowedIPs, p.Keepalive)
		}
	}
	for _, r := range s.Routes {
		to := "dev " + r.Device
		if r.Unreachable {
			to = "unreachable"
		}
		fmt.Fprintf(&b, "route %v %s table %d metric %d src %v\n", r.Prefix, to, r.Table, r.Metric, r.Source)
	}
	for _, r := range s.Rules {
		fmt.Fprintf(&b, "rule%d %d iif %q oif %q from %v lookup %d\n", r.Family, r.Priority, r.Iif, r.Oif, r.From, r.Table)
	}
	for _, f := range s.Filters {
		fmt.Fprintf(&b, "filter %s devices %v uplinks %v ports %v only %v %v\n", f.Table, f.Devices, f.Uplinks, f.Ports, f.Only, f.Only6)
	}
	for _, x := range s.Settings {
		fmt.Fprintf(&b, "setting %s=%s\n", x.Path, x.Value)
	}
	return b.String()
}

func resolve(hostport string) []netip.AddrPort {
	return map[string][]netip.AddrPort{
		"hub-north.example.net:51820": {netip.MustParseAddrPort("192.0.2.10:51820"), netip.MustParseAddrPort("192.0.2.11:51820")},
	}[hostport]
}

func wantDump(t *testing.T, spec tunnels.Spec, f tunnels.Facts, text string, problems ...string) {
	t.Helper()
	s, p := tunnels.Want(spec, f, resolve)
	if got := dump(s); got != text {
		t.Errorf("wanted is\n%s\nshould be\n%s", got, text)
	}
	var got []string
	for _, x := range p {
		got = append(got, x.String())
	}
	if !slices.Equal(got, problems) {
		t.Errorf("problems %q, should be %q", got, problems)
	}
}

func TestWantOfSite(t *testing.T) {
	spec := site()
	spec.Networks = spec.Networks[:1]
	f := facts()
	f.Ports = map[string]int{"gn-kestrel-n": 40001, "gn-heron-s": 40002}
	wantDump(t, spec, f, `device gn-kestrel-n mtu 1420 port 0 addresses [100.64.0.7/32]
  peer hub-north endpoint 192.0.2.10:51820 or [192.0.2.11:51820] ips [198.51.100.0/24] keepalive 25s
device gn-kestrel-s mtu 1420 port 0 addresses [100.64.0.7/32]
  peer hub-south endpoint invalid AddrPort or [] ips [198.51.100.0/24] keepalive 25s
route 198.51.100.0/24 unreachable table 7101 metric 20000 src invalid IP
route 198.51.100.0/24 dev gn-kestrel-n table 7101 metric 100 src 100.64.0.7
rule4 5000 iif "" oif "" from 192.168.10.0/24 lookup 7101
rule4 5001 iif "gn-kestrel-n" oif "" from invalid Prefix lookup 7101
rule6 5001 iif "gn-kestrel-n" oif "" from invalid Prefix lookup 7101
rule4 5002 iif "" oif "gn-kestrel-n" from invalid Prefix lookup 7101
rule6 5002 iif "" oif "gn-kestrel-n" from invalid Prefix lookup 7101
rule4 5003 iif "gn-kestrel-s" oif "" from invalid Prefix lookup 7101
rule6 5003 iif "gn-kestrel-s" oif "" from invalid Prefix lookup 7101
rule4 5004 iif "" oif "gn-kestrel-s" from invalid Prefix lookup 7101
rule6 5004 iif "" oif "gn-kestrel-s" from invalid Prefix lookup 7101
rule4 5005 iif "" oif "" from 100.64.0.7/32 lookup 7101
filter ginnel_kestrel devices [gn-kestrel-n gn-kestrel-s] uplinks [eth0] ports [40001] only [eth1] false
setting net/ipv4/conf/eth1/forwarding=1
setting net/ipv4/conf/gn-kestrel-n/forwarding=1
setting net/ipv4/conf/gn-kestrel-s/forwarding=1
`)
}

func TestWantOfHub(t *testing.T) {
	wantDump(t, hub(), facts(), `device gn-kestrel mtu 1420 port 51820 addresses [100.64.0.1/32]
  peer avocet-1 endpoint invalid AddrPort or [] ips [100.64.0.7/32 192.168.10.0/24] keepalive 0s
  peer bittern-1 endpoint invalid AddrPort or [] ips [100.64.0.8/32 192.168.20.0/24] keepalive 0s
route 100.64.0.7/32 unreachable table 7101 metric 20000 src invalid IP
route 100.64.0.7/32 dev gn-kestrel table 7101 metric 100 src 100.64.0.1
route 192.168.10.0/24 unreachable table 7101 metric 20000 src invalid IP
route 192.168.10.0/24 dev gn-kestrel table 7101 metric 100 src 100.64.0.1
route 100.64.0.8/32 unreachable table 7101 metric 20000 src invalid IP
route 100.64.0.8/32 dev gn-kestrel table 7101 metric 100 src 100.64.0.1
route 192.168.20.0/24 unreachable table 7101 metric 20000 src invalid IP
route 192.168.20.0/24 dev gn-kestrel table 7101 metric 100 src 100.64.0.1
rule4 5000 iif "" oif "" from 198.51.100.0/24 lookup 7101
rule4 5001 iif "gn-kestrel" oif "" from invalid Prefix lookup 7101
rule6 5001 iif "gn-kestrel" oif "" from invalid Prefix lookup 7101
rule4 5002 iif "" oif "gn-kestrel" from invalid Prefix lookup 7101
rule6 5002 iif "" oif "gn-kestrel" from invalid Prefix lookup 7101
rule4 5003 iif "" oif "" from 100.64.0.1/32 lookup 7101
filter ginnel_kestrel devices [gn-kestrel] uplinks [eth0] ports [51820] only [] false
setting net/ipv4/conf/gn-kestrel/forwarding=1
`)
}

func TestWantOfIPv6AndIngress(t *testing.T) {
	n := tunnels.Network{Name: "heron", Table: 7102, Priority: 5032, Addresses: makePrefixes("2001:db8::7/128"),
		LAN: makePrefixes("2001:db8:7::/64"), Ingress: []string{"eth1", "eth9"},
		Devices: []tunnels.Tunnel{{Device: "gn-heron-s", MTU: 1380, Peers: []tunnels.PeerSpec{
			{Name: "hub-south", PublicKey: worldKeys[1].Public(), AllowedIPs: append(makePrefixes("2001:db8:1::/48", "2001:db8:1::/48", "::/0", "0.0.0.0/0"), netip.Prefix{})}}}}}
	wantDump(t, tunnels.Spec{Networks: []tunnels.Network{n}}, facts(), `device gn-heron-s mtu 1380 port 0 addresses [2001:db8::7/128]
  peer hub-south endpoint invalid AddrPort or [] ips [2001:db8:1::/48] keepalive 0s
route 2001:db8:1::/48 unreachable table 7102 metric 20000 src invalid IP
route 2001:db8:1::/48 dev gn-heron-s table 7102 metric 100 src 2001:db8::7
rule4 5032 iif "eth1" oif "" from invalid Prefix lookup 7102
rule6 5032 iif "eth1" oif "" from invalid Prefix lookup 7102
rule4 5033 iif "eth9" oif "" from invalid Prefix lookup 7102
rule6 5033 iif "eth9" oif "" from invalid Prefix lookup 7102
rule6 5034 iif "lo" oif "" from 2001:db8:7::/64 lookup 7102
rule4 5035 iif "gn-heron-s" oif "" from invalid Prefix lookup 7102
rule6 5035 iif "gn-heron-s" oif "" from invalid Prefix lookup 7102
rule4 5036 iif "" oif "gn-heron-s" from invalid Prefix lookup 7102
rule6 5036 iif "" oif "gn-heron-s" from invalid Prefix lookup 7102
rule6 5037 iif "" oif "" from 2001:db8::7/128 lookup 7102
filter ginnel_heron devices [gn-heron-s] uplinks [eth0] ports [] only [] true
setting net/ipv6/conf/eth0/accept_ra=2
setting net/ipv6/conf/all/forwarding=1
`, "heron: ingress link eth9 is not on this host", "heron: device gn-heron-s has no private key",
		"heron: ::/0 of hub-south is not taken: the default route is never ours",
		"heron: 0.0.0.0/0 of hub-south is not taken: the default route is never ours",
		"heron: invalid Prefix of hub-south is not taken: the default route is never ours")

	f := facts()
	f.Forwarding6 = true
	s, _ := tunnels.Want(tunnels.Spec{Networks: []tunnels.Network{n}}, f, resolve)
	if len(s.Settings) != 0 || s.Filters[0].Only6 {
		t.Errorf("a host that forwards IPv6 already gets %v, only our traffic %v", s.Settings, s.Filters[0].Only6)
	}
}

func TestWantWithoutLANLink(t *testing.T) {
	spec := site()
	spec.Networks = spec.Networks[1:]
	spec.Networks[0].LAN = makePrefixes("192.168.99.0/24")
	s, problems := tunnels.Want(spec, facts(), resolve)
	want := "heron: no link has an address in the LAN 192.168.99.0/24: nothing is forwarded from it"
	if len(problems) != 1 || problems[0].String() != want || problems[0].Hint == "" {
		t.Errorf("problems %v, want %s", problems, want)
	}
	if len(s.Filters[0].Only) != 0 {
		t.Errorf("forwarding is changed on %v", s.Filters[0].Only)
	}
}

func TestRulesBeyondTheSpan(t *testing.T) {
	n := network("kestrel", 0, "hub-north")
	n.LAN = nil
	for i := range 100 {
		n.LAN = append(n.LAN, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 0}), 24))
	}
	s, _ := tunnels.Want(tunnels.Spec{Networks: []tunnels.Network{n}}, tunnels.Facts{}, resolve)
	last := s.Rules[len(s.Rules)-1]
	if len(s.Rules) != 105 || last.Priority != n.Priority+tunnels.PrioritySpan-1 {
		t.Errorf("%d rules, the last at %d", len(s.Rules), last.Priority)
	}
	for _, x := range s.Rules {
		if x.Priority < n.Priority || x.Priority >= n.Priority+tunnels.PrioritySpan {
			t.Fatalf("rule at %d is outside %d and the %d after it", x.Priority, n.Priority, tunnels.PrioritySpan)
		}
	}
}

func TestGuard(t *testing.T) {
	spec := tunnels.Spec{Networks: site().Networks[1:]}
	spec.Networks[0].Ingress = []string{"eth1"}
	if g := tunnels.Guard(spec, tunnels.Facts{}); len(g.Settings) != 0 || len(g.Filters[0].Only) != 0 {
		t.Errorf("guard with a named link forwards: %v, %v", g.Settings, g.Filters[0].Only)
	}
	want := `route 203.0.113.0/24 unreachable table 7102 metric 20000 src invalid IP
rule4 5032 iif "" oif "" from 192.168.10.0/24 lookup 7102
rule4 5033 iif "gn-heron-s" oif "" from invalid Prefix lookup 7102
rule6 5033 iif "gn-heron-s" oif "" from invalid Prefix lookup 7102
rule4 5034 iif "" oif "gn-heron-s" from invalid Prefix lookup 7102
rule6 5034 iif "" oif "gn-heron-s" from invalid Prefix lookup 7102
rule4 5035 iif "" oif "" from 100.64.64.7/32 lookup 7102
filter ginnel_heron devices [gn-heron-s] uplinks [] ports [] only [] false
`
	if f := tunnels.Guard(spec, tunnels.Facts{}).Filters[0]; len(f.Ingress) != 0 || len(f.Own) != 0 || f.Digest != f.Sum() {
		t.Errorf("guard lets something pass between %v, or to %v", f.Ingress, f.Own)
	}
	if got := dump(tunnels.Guard(tunnels.Spec{Networks: site().Networks[1:]}, tunnels.Facts{})); got != want {
		t.Errorf("guard is\n%s\nshould be\n%s", got, want)
	}
}

func TestFilterSum(t *testing.T) {
	f := tunnels.Filter{Network: "kestrel", Table: "ginnel_kestrel", Devices: []string{"gn-a", "gn-b"}, Uplinks: []string{"eth0"},
		Ports: []int{1, 2}, Only: []string{"eth1"}}
	same := f
	same.Devices, same.Ports, same.Digest = []string{"gn-b", "gn-a", "gn-a"}, []int{2, 1}, "other"
	if f.Sum() != same.Sum() || len(f.Sum()) != 16 {
		t.Errorf("%s and %s", f.Sum(), same.Sum())
	}
	seen := map[string]bool{f.Sum(): true}
	for _, change := range []func(*tunnels.Filter){
		func(f *tunnels.Filter) { f.Network = "heron" }, func(f *tunnels.Filter) { f.Table = "ginnel_heron" },
		func(f *tunnels.Filter) { f.Devices = f.Devices[:1] }, func(f *tunnels.Filter) { f.Uplinks = nil },
		func(f *tunnels.Filter) { f.Ports = []int{1} }, func(f *tunnels.Filter) { f.Only = nil }, func(f *tunnels.Filter) { f.Only6 = true },
		func(f *tunnels.Filter) { f.Role = tunnels.Hub }, func(f *tunnels.Filter) { f.MTU = 1380 }, func(f *tunnels.Filter) { f.Ingress = []string{"eth1"} },
		func(f *tunnels.Filter) { f.LAN = worldPrefixes[:1] }, func(f *tunnels.Filter) { f.Own = worldPrefixes[:1] },
		func(f *tunnels.Filter) { f.Shared = worldPrefixes[:1] },
		func(f *tunnels.Filter) { f.Far = worldPrefixes[:1] },
		func(f *tunnels.Filter) { f.Maps = []tunnels.Map{{LAN: worldPrefixes[0], As: worldPrefixes[1]}} },
		func(f *tunnels.Filter) { f.AnyIn = true }, func(f *tunnels.Filter) { f.AnyOut = true },
		func(f *tunnels.Filter) { f.In = []tunnels.Opening{{}} }, func(f *tunnels.Filter) { f.Out = []tunnels.Opening{{}} },
		func(f *tunnels.Filter) { f.Across = []tunnels.Opening{{}} }, func(f *tunnels.Filter) { f.Gateway = []tunnels.Opening{{}} },
		func(f *tunnels.Filter) { f.In = []tunnels.Opening{{Ports: []string{"tcp/80"}}} },
		func(f *tunnels.Filter) { f.In = []tunnels.Opening{{From: worldPrefixes[:1]}} },
		func(f *tunnels.Filter) { f.In = []tunnels.Opening{{To: worldPrefixes[:1]}} },
	} {
		other := f
		change(&other)
		if seen[other.Sum()] {
			t.Errorf("%+v has the sum of another", other)
		}
		seen[other.Sum()] = true
	}
}

func TestWantFindsUplinksWithoutARoute(t *testing.T) {
	facts := tunnels.Facts{Links: []tunnels.Link{
		{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24")}},
		{Name: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.10.1/24")}},
		{Name: "eth2"},
	}}
	spec := tunnels.Spec{Networks: []tunnels.Network{{
		Name: "kestrel", LAN: []netip.Prefix{netip.MustParsePrefix("192.168.10.0/24")}, Table: 7101, Priority: 5000,
		Devices: []tunnels.Tunnel{{Device: "gn-kestrel", ListenPort: 51820}},
	}}}
	want, _ := tunnels.Want(spec, facts, func(string) []netip.AddrPort { return nil })
	if got := want.Filters[0].Uplinks; !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("uplinks = %v, want eth0: the LAN's link and one without an address are none", got)
	}
	facts.Uplinks = []string{"eth2"}
	want, _ = tunnels.Want(spec, facts, func(string) []netip.AddrPort { return nil })
	if got := want.Filters[0].Uplinks; !slices.Equal(got, []string{"eth2"}) {
		t.Errorf("uplinks = %v, want what the routes say", got)
	}
}

// dual is a network that carries both versions of IP.
func dual() tunnels.Network {
	return tunnels.Network{Name: "heron", Table: 7102, Priority: 5032, Addresses: makePrefixes("100.64.64.7/32", "2001:db8::7/128"),
		LAN: makePrefixes("192.168.10.0/24", "2001:db8:7::/64"), Ingress: []string{"eth1"},
		Devices: []tunnels.Tunnel{{Device: "gn-heron-s", PrivateKey: worldKeys[0], Peers: []tunnels.PeerSpec{
			{Name: "hub-south", PublicKey: worldKeys[1].Public(), AllowedIPs: makePrefixes("203.0.113.0/24", "2001:db8:1::/48")}}}}}
}

// A kernel without IPv6 refuses every rule and route of it, and a network stops
// at the first step that fails: none may be wanted.
func TestWantWithoutIPv6(t *testing.T) {
	spec := tunnels.Spec{Networks: []tunnels.Network{dual()}}
	f := facts()
	f.NoIPv6 = true
	wantDump(t, spec, f, `device gn-heron-s mtu 1420 port 0 addresses [100.64.64.7/32]
  peer hub-south endpoint invalid AddrPort or [] ips [203.0.113.0/24] keepalive 0s
route 203.0.113.0/24 unreachable table 7102 metric 20000 src invalid IP
route 203.0.113.0/24 dev gn-heron-s table 7102 metric 100 src 100.64.64.7
rule4 5032 iif "eth1" oif "" from invalid Prefix lookup 7102
rule4 5033 iif "lo" oif "" from 192.168.10.0/24 lookup 7102
rule4 5034 iif "gn-heron-s" oif "" from invalid Prefix lookup 7102
rule4 5035 iif "" oif "gn-heron-s" from invalid Prefix lookup 7102
rule4 5036 iif "" oif "" from 100.64.64.7/32 lookup 7102
filter ginnel_heron devices [gn-heron-s] uplinks [eth0] ports [] only [eth1] false
setting net/ipv4/conf/eth1/forwarding=1
setting net/ipv4/conf/gn-heron-s/forwarding=1
`, "heron: its IPv6 is left out: this host's kernel has none")
	if len(spec.Networks[0].Addresses) != 2 || len(spec.Networks[0].Devices[0].Peers[0].AllowedIPs) != 2 {
		t.Errorf("the Spec was changed: %+v", spec)
	}
	if guard := dump(tunnels.Guard(spec, f)); strings.Contains(guard, "rule6") || strings.Contains(guard, "2001:") {
		t.Errorf("guard has IPv6:\n%s", guard)
	}
}

// A device gets IPv6 addresses also where new links come without IPv6, and only
// a device that has some.
func TestWantWhereIPv6IsDisabled(t *testing.T) {
	f := facts()
	f.Disabled6 = true
	four := dual()
	four.Name, four.Table, four.Addresses, four.LAN = "kestrel", 7101, four.Addresses[:1], four.LAN[:1]
	four.Devices = []tunnels.Tunnel{{Device: "gn-kestrel", PrivateKey: worldKeys[0]}}
	s, _ := tunnels.Want(tunnels.Spec{Networks: []tunnels.Network{four, dual()}}, f, resolve)
	var got []string
	for _, x := range s.Settings {
		if strings.HasSuffix(x.Path, "/disable_ipv6") {
			got = append(got, x.Network+" "+x.Path+"="+x.Value)
		}
	}
	if want := []string{"heron net/ipv6/conf/gn-heron-s/disable_ipv6=0"}; !slices.Equal(got, want) {
		t.Errorf("settings %q, should be %q", got, want)
	}
}

// Devices of ours take packets by any way on a host that is strict about it, and
// no link of anybody else's does.
func TestWantWherePathsAreStrict(t *testing.T) {
	f := facts()
	f.StrictPaths = true
	s, _ := tunnels.Want(site(), f, resolve)
	var got []string
	for _, x := range s.Settings {
		if strings.HasSuffix(x.Path, "/rp_filter") {
			got = append(got, x.Network+" "+x.Path+"="+x.Value)
		}
	}
	if want := []string{"kestrel net/ipv4/conf/gn-kestrel-n/rp_filter=2", "kestrel net/ipv4/conf/gn-kestrel-s/rp_filter=2",
		"heron net/ipv4/conf/gn-heron-s/rp_filter=2"}; !slices.Equal(got, want) {
		t.Errorf("settings %q, should be %q", got, want)
	}
}

// What two peers of one device cannot both have goes to the first: else each
// look would move it to the other, and sessions with it.
func TestWantOfPeersInEachOthersWay(t *testing.T) {
	spec := hub()
	own, avocet := spec.Networks[0].Devices[0].PrivateKey.Public(), worldKeys[2].Public()
	peers := &spec.Networks[0].Devices[0].Peers
	*peers = append(*peers,
		tunnels.PeerSpec{Name: "curlew-1", PublicKey: worldKeys[4].Public(), AllowedIPs: makePrefixes("192.168.10.0/24", "192.168.30.0/24")},
		tunnels.PeerSpec{Name: "dunlin-1", PublicKey: avocet, AllowedIPs: makePrefixes("192.168.40.0/24")},
		tunnels.PeerSpec{Name: "egret-1", PublicKey: own, AllowedIPs: makePrefixes("192.168.50.0/24")},
		tunnels.PeerSpec{Name: "fulmar-1", AllowedIPs: makePrefixes("192.168.60.0/24")})
	want, problems := tunnels.Want(spec, facts(), resolve)
	var got []string
	for _, p := range want.Devices[0].Peers {
		got = append(got, fmt.Sprint(p.Name, p.AllowedIPs))
	}
	if want := []string{"avocet-1[100.64.0.7/32 192.168.10.0/24]", "bittern-1[100.64.0.8/32 192.168.20.0/24]",
		"curlew-1[192.168.30.0/24]"}; !slices.Equal(got, want) {
		t.Errorf("peers %q, should be %q", got, want)
	}
	if want := "[kestrel: 192.168.10.0/24 of curlew-1 belongs to avocet-1 already" +
		" kestrel: peer dunlin-1 has the public key of avocet-1" +
		" kestrel: peer egret-1 has the public key of this gateway kestrel: peer fulmar-1 has no public key yet]"; fmt.Sprint(problems) != want {
		t.Errorf("problems %v, should be %s", problems, want)
	}
}

func TestDeadDeviceKeepsItsHubOnly(t *testing.T) {
	spec := tunnels.Spec{Networks: []tunnels.Network{{
		Name: "kestrel", Table: 7101, Priority: 5000,
		Devices: []tunnels.Tunnel{{Device: "gn-kestrel-n", Hub: "hub-north", Peers: []tunnels.PeerSpec{{
			Name: "hub-north", PublicKey: key.NewPrivate().Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("100.64.0.1/32"),
				netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("198.51.100.9/32")},
		}}}},
	}}}
	routes := func(dead bool) (through, refused []string) {
		want, _ := tunnels.Want(spec, tunnels.Facts{Dead: map[string]bool{"gn-kestrel-n": dead}}, func(string) []netip.AddrPort { return nil })
		for _, r := range want.Routes {
			if r.Unreachable {
				refused = append(refused, r.Prefix.String())
			} else {
				through = append(through, r.Prefix.String())
			}
		}
		return through, refused
	}
	all := []string{"100.64.0.1/32", "198.51.100.0/24", "198.51.100.9/32"}
	if through, refused := routes(false); !slices.Equal(through, all) || !slices.Equal(refused, all) {
		t.Errorf("alive: through %v, refused behind it %v", through, refused)
	}
	if through, refused := routes(true); !slices.Equal(through, all[:1]) || !slices.Equal(refused, all) {
		t.Errorf("dead: through %v, refused %v; want only the hub's own through", through, refused)
	}
}

func TestWantForwardsNothingOnLoopback(t *testing.T) {
	lan := netip.MustParsePrefix("198.51.100.0/24")
	facts := tunnels.Facts{Links: []tunnels.Link{{Name: "lo", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.20/32")}}}}
	spec := tunnels.Spec{Networks: []tunnels.Network{{
		Name: "kestrel", Role: tunnels.Hub, LAN: []netip.Prefix{lan}, Table: 7101, Priority: 5000, Devices: []tunnels.Tunnel{{Device: "gn-kestrel"}},
	}}}
	want, _ := tunnels.Want(spec, facts, func(string) []netip.AddrPort { return nil })
	for _, s := range want.Settings {
		if strings.Contains(s.Path, "/lo/") {
			t.Errorf("wants %s = %s", s.Path, s.Value)
		}
	}
}

func sortedLines(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

// What is for peers that are shut out is refused by their routes, and nothing
// else of the network changes, even when nobody is left.
func TestWantOfPeersShutOut(t *testing.T) {
	whole, _ := tunnels.Want(hub(), facts(), resolve)
	spec := hub()
	n := &spec.Networks[0]
	peers := n.Devices[0].Peers
	for left := len(peers) - 1; left >= 0; left-- {
		n.Devices[0].Peers = peers[:left]
		n.Refused = append(n.Refused, peers[left].AllowedIPs...)
		var lost []string
		less, problems := tunnels.Want(spec, facts(), resolve)
		for _, r := range whole.Routes {
			if !slices.Contains(less.Routes, r) {
				lost = append(lost, fmt.Sprintf("%v dev %s", r.Prefix, r.Device))
			}
		}
		var want []string
		for _, p := range peers[left:] {
			for _, prefix := range p.AllowedIPs {
				want = append(want, fmt.Sprintf("%v dev gn-kestrel", prefix))
			}
		}
		if !slices.Equal(lost, want) || len(problems) > 0 {
			t.Errorf("%d peers left: lost %q, want %q; %v", left, lost, want, problems)
		}
		guard, full := tunnels.Guard(spec, facts()), tunnels.Guard(hub(), facts())
		if a, b := sortedLines(dump(guard)), sortedLines(dump(full)); a != b {
			t.Errorf("%d peers left: the guard puts up\n%s\nshould be\n%s", left, a, b)
		}
		less.Devices, less.Routes = whole.Devices, whole.Routes
		if got := dump(less); got != dump(whole) {
			t.Errorf("%d peers left: besides devices and routes it is\n%s\nshould be\n%s", left, got, dump(whole))
		}
	}
}
