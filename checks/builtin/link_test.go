package builtin

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"github.com/vishvananda/netlink"
)

// cable adds a pair of links, switched on, to the tests' namespace; addresses are
// the first one's.
func cable(t *testing.T, name string, addresses ...*netlink.Addr) (near, far netlink.Link) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-far"}))
	near, err := netlink.LinkByName(name)
	must(err)
	t.Cleanup(func() { netlink.LinkDel(near) })
	far, err = netlink.LinkByName(name + "-far")
	must(err)
	must(netlink.LinkSetUp(near))
	must(netlink.LinkSetUp(far))
	for _, a := range addresses {
		must(netlink.AddrAdd(near, a))
	}
	return near, far
}

func address(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestLinkSuite(t *testing.T) {
	_, far := cable(t, "dead", address(t, "198.51.100.65/28"))
	if err := netlink.LinkSetDown(far); err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, checktest.Subject{
		Kind:     Link(),
		Good:     checks.Target{Address: "near"},
		Refusing: &checks.Target{Address: "nowhere"}, RefusingReason: checks.Unreachable,
		Silent: &checks.Target{Address: "dead"}, SilentReason: checks.Unreachable,
	})
}

// TestLinkOfTheDefaultRoute: the best one's counts, and there may be none.
func TestLinkOfTheDefaultRoute(t *testing.T) {
	r := check(t, Link(), checks.Target{})
	expect(t, r, checks.Failed, checks.Unreachable, checks.PhaseRoute)
	if want := "this host has no default route"; r.Detail != want {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
	_, anywhere, _ := net.ParseCIDR("0.0.0.0/0")
	for i, name := range []string{"line-b", "line-a"} {
		l, _ := cable(t, name, address(t, "198.51.100.81/28"))
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Priority: 200 - 100*i, Dst: anywhere}); err != nil {
			t.Fatal(err)
		}
		if r := check(t, Link(), checks.Target{}); r.Path != name || r.Verdict != checks.OK {
			t.Errorf("got %+v, want %s", r, name)
		}
	}
}

// TestLinkIsSeen follows a link of the kernel's through its days.
func TestLinkIsSeen(t *testing.T) {
	near, far := cable(t, "eth7", address(t, "198.51.100.97/28"))
	c, err := Link().Make(checks.Target{Address: "eth7"})
	if err != nil {
		t.Fatal(err)
	}
	r := c.Run(t.Context())
	expect(t, r, checks.OK, "", "")
	speed, _ := valueOf(r, "speed")
	mtu, _ := valueOf(r, "mtu")
	if r.Path != "eth7" || speed != 10e9 || mtu != 1500 || len(r.Steps) != 3 || r.Steps[0].Detail != "up, 10000 Mbit/s, full duplex, MTU 1500" || r.Steps[1].Detail != "198.51.100.97" {
		t.Errorf("got %+v", r)
	}
	if err := netlink.LinkSetDown(far); err != nil {
		t.Fatal(err)
	}
	r = c.Run(t.Context())
	expect(t, r, checks.Failed, checks.Unreachable, checks.PhaseConnect)
	if err := netlink.LinkSetUp(far); err != nil {
		t.Fatal(err)
	}
	expect(t, c.Run(t.Context()), checks.OK, "", "")
	netlink.LinkSetDown(far) // and up again, between two looks
	netlink.LinkSetUp(far)
	r = c.Run(t.Context())
	expect(t, r, checks.Degraded, checks.Loss, checks.PhaseConnect)
	if want := "eth7 lost its carrier 1 times since the last look"; r.Detail != want {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
	expect(t, c.Run(t.Context()), checks.OK, "", "")
	if err := netlink.LinkSetDown(near); err != nil {
		t.Fatal(err)
	}
	if r = c.Run(t.Context()); r.Detail != "eth7 is switched off" {
		t.Errorf("got %+v", r)
	}
	if err := netlink.LinkDel(near); err != nil {
		t.Fatal(err)
	}
	expect(t, c.Run(t.Context()), checks.Failed, checks.Unreachable, checks.PhaseRoute)
	cable(t, "eth7", address(t, "198.51.100.97/28")) // another one: its counts are not compared
	expect(t, c.Run(t.Context()), checks.OK, "", "")
}

func TestLinkVerdicts(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	state := func(change func(*linkState)) linkState {
		s := linkState{name: "eth0", up: true, carrier: true, state: "up", speed: 1000, duplex: "full", addresses: []netip.Addr{four},
			packets: 1_010_000, errors: 5, drops: 5, downs: 3, at: time.Now()}
		if change != nil {
			change(&s)
		}
		return s
	}
	before := state(func(s *linkState) { s.packets = 1_000_000 })
	for _, test := range []struct {
		name    string
		options map[string]any
		state   linkState
		verdict checks.Verdict
		reason  checks.Reason
		detail  string
	}{
		{"well", nil, state(nil), checks.OK, "", ""},
		{"802.1X", nil, state(func(s *linkState) { s.state = "dormant" }), checks.Failed, checks.Unreachable, "eth0 waits to be let in (as 802.1X does)"},
		{"no cable", nil, state(func(s *linkState) { s.carrier = false }), checks.Failed, checks.Unreachable,
			"eth0 has no carrier: no cable, or nothing alive at its other end"},
		{"no address", nil, state(func(s *linkState) { s.addresses = nil }), checks.Failed, checks.Unreachable, "eth0 has no address"},
		{"none wanted", map[string]any{"address": "none"}, state(func(s *linkState) { s.addresses = nil }), checks.OK, "", ""},
		{"the other family's", map[string]any{"address": "ipv6"}, state(nil), checks.Failed, checks.Unreachable, "eth0 has no IPv6 address"},
		{"IPv6 only", map[string]any{"address": "both"}, state(func(s *linkState) { s.addresses = []netip.Addr{six} }), checks.Failed, checks.Unreachable, "eth0 has no IPv4 address"},
		{"both", map[string]any{"address": "both"}, state(func(s *linkState) { s.addresses = []netip.Addr{four, six} }), checks.OK, "", ""},
		{"few damaged", nil, state(func(s *linkState) { s.errors += 9 }), checks.OK, "", ""},
		{"many damaged", nil, state(func(s *linkState) { s.errors += 11 }), checks.Degraded, checks.Loss, "eth0: 11 of 10011 packets were damaged since the last look"},
		{"counts that begin anew", nil, state(func(s *linkState) { s.errors, s.drops, s.downs = 0, 1, 0 }), checks.OK, "", ""},
		{"damage allowed", map[string]any{"errors": int64(11)}, state(func(s *linkState) { s.errors += 11 }), checks.OK, "", ""},
		{"drops allowed", nil, state(func(s *linkState) { s.drops += 1000 }), checks.OK, "", ""},
		{"too many drops", nil, state(func(s *linkState) { s.drops += 1200 }), checks.Degraded, checks.Loss, "eth0: 1200 of 11200 packets were dropped since the last look"},
		{"lost its carrier", nil, state(func(s *linkState) { s.downs++ }), checks.Degraded, checks.Loss, "eth0 lost its carrier 1 times since the last look"},
		{"may lose its carrier", map[string]any{"flaps": int64(0)}, state(func(s *linkState) { s.downs++ }), checks.OK, "", ""},
		{"half duplex", nil, state(func(s *linkState) { s.duplex = "half" }), checks.Degraded, checks.Assertion, "eth0 works in half duplex"},
		{"half duplex allowed", map[string]any{"duplex": false}, state(func(s *linkState) { s.duplex = "half" }), checks.OK, "", ""},
		{"slow", map[string]any{"speed": int64(1000)}, state(func(s *linkState) { s.speed = 100 }), checks.Degraded, checks.Assertion, "eth0 works at 100 Mbit/s, less than 1000"},
		{"speed not told", map[string]any{"speed": int64(1000)}, state(func(s *linkState) { s.speed = 0 }), checks.OK, "", ""},
		{"lease renewed", nil, state(func(s *linkState) { s.lease = lease{address: four, left: 450 * time.Second, length: time.Hour} }), checks.OK, "", ""},
		{"lease not renewed", nil, state(func(s *linkState) { s.lease = lease{address: four, left: 449 * time.Second, length: time.Hour} }), checks.Degraded, checks.Assertion,
			"eth0: the DHCP server has not renewed the lease of 192.0.2.7; 7m29s of 1h0m0s are left"},
	} {
		t.Run(test.name, func(t *testing.T) {
			made, err := Link().Make(checks.Target{Address: "eth0", Options: test.options})
			if err != nil {
				t.Fatal(err)
			}
			c := made.(*linkCheck)
			c.before = before
			r := checks.Result{Verdict: checks.OK}
			if f := c.judge(test.state); f != nil {
				r = f.Result
			}
			if r.Verdict != test.verdict || r.Reason != test.reason || r.Detail != test.detail {
				t.Errorf("got %s, %q, %q", r.Verdict, r.Reason, r.Detail)
			}
		})
	}
}

// TestLinkLease: the kernel tells how long an address is valid, a file how long it
// was meant to be.
func TestLinkLease(t *testing.T) {
	dynamic := address(t, "198.51.100.113/28")
	dynamic.ValidLft, dynamic.PreferedLft = 600, 600
	near, _ := cable(t, "eth8", dynamic)
	root := t.TempDir()
	made, err := Link().Make(checks.Target{Address: "eth8"})
	if err != nil {
		t.Fatal(err)
	}
	c := made.(*linkCheck)
	c.leases.root = root
	look := func(age float64) checks.Result {
		t.Helper()
		r := c.Run(t.Context())
		left, _ := valueOf(r, "lease_left")
		got, _ := valueOf(r, "lease_age")
		if left < 590 || left > 600 || got < age || got > age+10 {
			t.Errorf("left %v, age %v, want about 600 and %v", left, got, age)
		}
		return r
	}
	expect(t, look(0), checks.OK, "", "")
	file := filepath.Join(root, "run/systemd/netif/leases", strconv.Itoa(near.Attrs().Index))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# This is private data.\nADDRESS=198.51.100.113\nSERVER_ADDRESS=198.51.100.126\nLIFETIME=7200\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := look(6600)
	expect(t, r, checks.Degraded, checks.Assertion, checks.PhaseConnect)
	if last := r.Steps[len(r.Steps)-1]; last.Name != "DHCP lease" || !strings.HasSuffix(last.Detail, "left of 2h0m0s, by 198.51.100.126") {
		t.Errorf("got %+v", last)
	}
}

func TestLeaseFiles(t *testing.T) {
	const dhclient = `default-duid "\000\001";
lease {
  interface "eth0";
  fixed-address 192.0.2.7;
  option dhcp-lease-time 3600;
  option dhcp-server-identifier 192.0.2.1;
  renew 2 2026/11/24 14:12:00;
}
lease {
  interface "eth1";
  fixed-address 192.0.2.7;
  option dhcp-lease-time 60;
}
lease {
  interface "eth0";
  fixed-address 192.0.2.8;
  option dhcp-lease-time 90;
}
lease {
  interface "eth0";
  fixed-address 192.0.2.7;
  option dhcp-lease-time 7200;
  option dhcp-server-identifier 192.0.2.1;
  expire 2 2026/11/24 16:12:00;
}
`
	address := netip.MustParseAddr("192.0.2.7")
	for _, test := range []struct {
		file, text string
		length     time.Duration
		server     string
	}{
		{"run/systemd/netif/leases/4", "ADDRESS=192.0.2.7\nSERVER_ADDRESS=192.0.2.1\nT1=1800\nLIFETIME=3600\n", time.Hour, "192.0.2.1"},
		{"run/systemd/netif/leases/4", "ADDRESS=192.0.2.7\nLIFETIME=1d 2h 30min\n", 26*time.Hour + 30*time.Minute, ""},
		{"run/systemd/netif/leases/4", `{"Address":[192,0,2,7],"AddressString":"192.0.2.7","Lifetime":"1h"}`, time.Hour, ""},
		{"run/systemd/netif/leases/4", "ADDRESS=192.0.2.99\nLIFETIME=3600\n", 0, ""},
		{"run/systemd/netif/leases/5", "ADDRESS=192.0.2.7\nLIFETIME=3600\n", 0, ""},
		{"var/lib/NetworkManager/internal-5f3c-eth0.lease", "ADDRESS=192.0.2.7\nLIFETIME=3600\n", time.Hour, ""},
		{"var/lib/dhcp/dhclient.eth0.leases", dhclient, 2 * time.Hour, "192.0.2.1"},
		{"var/lib/dhclient/dhclient.leases", dhclient, 2 * time.Hour, "192.0.2.1"},
		{"var/lib/dhcp/dhclient.eth0.leases", "lease {\n}\n}\n", 0, ""},
	} {
		root := t.TempDir()
		file := filepath.Join(root, test.file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		x := leases{root: root}
		if l := x.written("eth0", 4, address); l.length != test.length || l.server != test.server {
			t.Errorf("%s, %q: got %v by %q", test.file, test.text, l.length, l.server)
		}
	}
}

func TestLinkRefusesTargets(t *testing.T) {
	for _, target := range []checks.Target{{Address: "eth0", Network: "kestrel"}, {Address: "a/b"}, {Address: "sixteen-letters-"}} {
		if _, err := Link().Make(target); err == nil {
			t.Errorf("%+v was made", target)
		}
	}
}

func FuzzLeaseFile(f *testing.F) {
	f.Add("ADDRESS=192.0.2.7\nLIFETIME=1d 2h\n")
	f.Add("lease {\n interface \"eth0\";\n fixed-address 192.0.2.7;\n option dhcp-lease-time 60;\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		a := netip.MustParseAddr("192.0.2.7")
		for _, l := range []lease{readNetworkd(text, "eth0", a), readDhclient(text, "eth0", a)} {
			if l.length < 0 || strings.ContainsAny(l.server, "\n\r") {
				t.Fatalf("%+v", l)
			}
		}
	})
}
