package host

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// open is a Host in the namespace of the calling thread.
func open(t *testing.T) *Host {
	t.Helper()
	h, err := New(Options{Remember: "/run/sysctls.json", Backend: backend(),
		Launcher: wireguard.Setsid{Program: program(t), Log: "/run/dataplane.log"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		if t.Failed() {
			log, _ := os.ReadFile("/run/dataplane.log")
			t.Logf("data planes said:\n%s", log)
		}
	})
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within runs f in another namespace that `ip netns add` made. Its goroutine
// ends locked to its thread, so that nobody else ever gets that thread.
func within(t *testing.T, ns string, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		fd, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET)
			fd.Close()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	must(t, <-done)
}

// converge does what the Manager does, without its patience: it plans and
// applies until there is nothing to do.
func converge(t *testing.T, h *Host, spec tunnels.Spec) (steps []string) {
	t.Helper()
	ctx := context.Background()
	for range 3 {
		facts, err := h.Facts(ctx, spec)
		must(t, err)
		have, err := h.Observe(ctx)
		must(t, err)
		facts.Ports = map[string]int{}
		for _, d := range have.Devices {
			facts.Ports[d.Name] = d.ListenPort
		}
		want, problems := tunnels.Want(spec, facts, literal)
		for _, p := range problems {
			t.Fatalf("problem: %v", p)
		}
		plan := tunnels.Plan(want, have)
		if len(plan) == 0 {
			return steps
		}
		for _, s := range plan {
			steps = append(steps, string(s.Op)+" "+string(s.Kind)+" "+s.Text)
			for _, w := range s.Writes() {
				if err := h.Apply(ctx, w); err != nil {
					t.Fatalf("%c %s %s: %v", w.Op, w.Kind, w.Text, err)
				}
			}
		}
	}
	t.Fatalf("it never ends:\n%s", strings.Join(steps, "\n"))
	return nil
}

func literal(hostport string) []netip.AddrPort {
	a, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return nil
	}
	return []netip.AddrPort{a}
}

func prefixes(s ...string) (p []netip.Prefix) {
	for _, x := range s {
		p = append(p, netip.MustParsePrefix(x))
	}
	return p
}

var (
	hubKey, siteKey, worldKey = key.NewPrivate(), key.NewPrivate(), key.NewPrivate()

	// siteSpec brings 192.168.10.0/24 to the network kestrel.
	siteSpec = tunnels.Spec{Networks: []tunnels.Network{{
		Name: "kestrel", Role: tunnels.Site, Table: 7001, Priority: 5000,
		Addresses: prefixes("100.64.0.7/32", "2001:db8:64::7/128"),
		LAN:       prefixes("192.168.10.0/24", "2001:db8:10::/64"),
		Ingress:   []string{"lan"},
		Devices: []tunnels.Tunnel{{Device: "gn-site", Hub: "hub-north", PrivateKey: siteKey, ListenPort: 51821,
			Peers: []tunnels.PeerSpec{{Name: "hub-north", PublicKey: hubKey.Public(), Endpoints: []string{"192.0.2.1:51820"},
				Keepalive:  25 * time.Second,
				AllowedIPs: prefixes("100.64.0.1/32", "198.51.100.0/24", "2001:db8:64::1/128", "2001:db8:51::/64")}}}},
	}}}
	hubSpec = tunnels.Spec{Networks: []tunnels.Network{{
		Name: "kestrel", Role: tunnels.Hub, Table: 7001, Priority: 5000,
		Addresses: prefixes("100.64.0.1/32", "2001:db8:64::1/128"),
		LAN:       prefixes("198.51.100.0/24"),
		Ingress:   []string{"dc"},
		Devices: []tunnels.Tunnel{{Device: "gn-hub", PrivateKey: hubKey, ListenPort: 51820,
			Peers: []tunnels.PeerSpec{{Name: "avocet-1", PublicKey: siteKey.Public(),
				AllowedIPs: prefixes("100.64.0.7/32", "192.168.10.0/24", "2001:db8:64::7/128")}}}},
	}}}
)

// county makes a site here, a hub in the namespace hub, a WAN between them, a
// LAN host behind the site and a service behind the hub:
//
//	pc --lan-- site ==wan== hub --dc-- service
func county(t *testing.T) {
	t.Helper()
	sh(t, `
		set -e
		for ns in hub pc service; do ip netns add $ns; ip -n $ns link set lo up; done
		ip link add wan type veth peer name wan netns hub
		ip link add lan type veth peer name eth0 netns pc
		ip -n hub link add dc type veth peer name eth0 netns service
		ip addr add 192.0.2.2/24 dev wan; ip addr add 192.168.10.1/24 dev lan; ip addr add 2001:db8:10::1/64 dev lan nodad
		ip -n hub addr add 192.0.2.1/24 dev wan; ip -n hub addr add 198.51.100.1/24 dev dc
		ip -n pc addr add 192.168.10.20/24 dev eth0
		ip -n service addr add 198.51.100.20/24 dev eth0
		ip link set wan up; ip link set lan up; ip route add default via 192.0.2.1
		ip -n hub link set wan up; ip -n hub link set dc up; ip -n pc link set eth0 up; ip -n service link set eth0 up
		ip -n pc route add default via 192.168.10.1
		ip -n service route add default via 198.51.100.1`)
}

// picture is all of a namespace that we could change, as text, but for the
// addresses and routes that IPv6 makes by itself, in its own time.
func picture(t *testing.T) string {
	t.Helper()
	return sh(t, `(ip -o addr | sed 's/valid_lft.*//'; ip route show table all; ip -6 route show table all) | grep -v -e fe80: -e 'proto kernel'
		ip rule; ip -6 rule
		nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'
		grep . /proc/sys/net/ipv[46]/conf/*/forwarding /proc/sys/net/ipv6/conf/*/accept_ra`)
}

// All that tunnels can want, on a real host: it comes to be, it stays without a
// write, packets go through it, and it goes without a trace.
func TestTunnelThroughAndThrough(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	// Objects of others, some as near to ours as can be.
	sh(t, `ip route add 203.0.113.0/24 dev wan proto 99 table 7001; ip route add 203.0.113.0/24 via 192.0.2.1
		ip rule add from 203.0.113.9 lookup 7001 priority 5000; ip rule add from 203.0.113.9 lookup 12 priority 6000 protocol 99
		nft add table inet other; nft add table ip ginnel_kestrel; nft add chain inet other c`)
	sh(t, "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6") // as on a hardened host
	before := picture(t)

	h := open(t)
	steps := converge(t, h, siteSpec)
	if len(steps) == 0 {
		t.Fatal("nothing was done")
	}
	within(t, "hub", func() {
		hub, err := New(Options{Remember: "/run/hub.json", Uplinks: []string{"wan"}, Backend: backend(),
			Launcher: wireguard.Setsid{Program: program(t)}})
		must(t, err)
		defer hub.Close()
		converge(t, hub, hubSpec)
	})

	during := picture(t)
	if again := converge(t, h, siteSpec); len(again) != 0 {
		t.Errorf("a second time writes:\n%s", strings.Join(again, "\n"))
	}
	if now := picture(t); now != during {
		t.Errorf("a second time changed:\n%s", cmp.Diff(during, now))
	}

	eventually(t, "the LAN host reaches the service", func() bool {
		return strings.Contains(sh(t, "ip netns exec pc ping -c1 -W1 198.51.100.20 || true"), " 0% packet loss")
	})
	sh(t, "ping -c1 -W2 -I 100.64.0.7 100.64.0.1; ping -c1 -W2 -I 2001:db8:64::7 2001:db8:64::1")
	if shake := sh(t, "wg show gn-site latest-handshakes"); strings.HasSuffix(shake, "\t0") {
		t.Errorf("wg knows of no handshake: %s", shake)
	}
	state, err := h.Observe(t.Context())
	must(t, err)
	if seen := state.Devices[0].Peers[0].Seen; time.Since(seen.LastHandshake) > time.Minute || seen.Received == 0 || seen.Sent == 0 {
		t.Errorf("traffic seen: %+v", seen)
	}

	h.Close()
	h = open(t) // the next process finds everything by its tags
	converge(t, h, tunnels.Spec{})
	if after := picture(t); after != before {
		t.Errorf("not as before (-before +after):\n%s", cmp.Diff(before, after))
	}
	if left := sh(t, "ls -A /run/sysctls.json /run/wireguard/gn-site* 2>/dev/null || true"); left != "" {
		t.Errorf("files are left: %s", left)
	}
}

// Each step alone may be taken twice, and the second time has no effect; and so
// may its removal.
func TestStepsTwice(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h, ctx := open(t), t.Context()
	facts, err := h.Facts(ctx, siteSpec)
	must(t, err)
	want, _ := tunnels.Want(siteSpec, facts, literal)
	twice := func(s tunnels.Step) {
		t.Helper()
		must(t, h.Apply(ctx, s))
		first := picture(t)
		if err := h.Apply(ctx, s); err != nil {
			t.Errorf("%c %s %s a second time: %v", s.Op, s.Kind, s.Text, err)
		}
		if second := picture(t); second != first {
			t.Errorf("%c %s %s a second time has an effect:\n%s", s.Op, s.Kind, s.Text, cmp.Diff(first, second))
		}
	}
	for _, s := range tunnels.Plan(want, tunnels.State{}) {
		twice(s)
		if s.Op == tunnels.Add && s.Kind != tunnels.PeerKind {
			s.Op = tunnels.Change
			twice(s)
		}
	}
	have, err := h.Observe(ctx)
	must(t, err)
	if left := tunnels.Plan(want, have); len(left) != 0 {
		t.Errorf("still planned: %+v", left)
	}
	for _, s := range slices.Backward(tunnels.Plan(want, tunnels.State{})) {
		if s.Op == tunnels.Add && s.Kind != tunnels.DeviceKind {
			s.Op = tunnels.Remove
			twice(s)
		}
	}
	twice(tunnels.Step{Op: tunnels.Remove, Kind: tunnels.DeviceKind, Device: &want.Devices[0]})
	have, err = h.Observe(ctx)
	must(t, err)
	if diff := cmp.Diff(tunnels.State{}, have); diff != "" {
		t.Errorf("left over:\n%s", diff)
	}
	for _, s := range slices.Backward(tunnels.Plan(want, tunnels.State{})) { // nothing there to remove
		s.Op = tunnels.Remove
		twice(s)
	}
}

func TestStepsThatAreRefused(t *testing.T) {
	if !apart(t) {
		return
	}
	h, ctx := open(t), t.Context()
	sh(t, "ip link add lan type veth peer name other; ip link set lan up; ip route add 203.0.113.0/24 dev lan table 7001 metric 100")
	before := picture(t)
	for name, s := range map[string]tunnels.Step{
		"no object":       {Op: tunnels.Add, Kind: tunnels.RouteKind},
		"no such kind":    {Op: tunnels.Add, Kind: "firewall"},
		"no such op":      {Kind: tunnels.RouteKind, Route: &tunnels.Route{}},
		"foreign table":   {Op: tunnels.Add, Kind: tunnels.FilterKind, Filter: &tunnels.Filter{Table: "other"}},
		"foreign link":    {Op: tunnels.Remove, Kind: tunnels.DeviceKind, Device: &tunnels.Device{Name: "lan"}},
		"foreign route":   {Op: tunnels.Add, Kind: tunnels.RouteKind, Route: &tunnels.Route{Table: 7001, Prefix: prefixes("203.0.113.0/24")[0], Unreachable: true, Metric: 100}},
		"sysctl upwards":  {Op: tunnels.Add, Kind: tunnels.SettingKind, Setting: &tunnels.Setting{Path: "net/../kernel/hostname", Value: "x"}},
		"sysctl not net":  {Op: tunnels.Add, Kind: tunnels.SettingKind, Setting: &tunnels.Setting{Path: "kernel/hostname", Value: "x"}},
		"sysctl absolute": {Op: tunnels.Add, Kind: tunnels.SettingKind, Setting: &tunnels.Setting{Path: "/etc/hostname", Value: "x"}},
	} {
		if err := h.Apply(ctx, s); err == nil {
			t.Errorf("%s: it was done", name)
		}
	}
	if err := h.Apply(ctx, tunnels.Step{Op: tunnels.Remove, Kind: tunnels.RouteKind,
		Route: &tunnels.Route{Table: 7001, Prefix: prefixes("203.0.113.0/24")[0], Unreachable: true, Metric: 100}}); err != nil {
		t.Errorf("removing a route that is not there: %v", err)
	}
	if after := picture(t); after != before {
		t.Errorf("something changed:\n%s", cmp.Diff(before, after))
	}
}

// Without the capability each write says so, with what to do.
func TestWithoutCapability(t *testing.T) {
	if !apart(t) {
		return
	}
	errs := map[tunnels.Kind]error{}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and end with it
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			done <- err
			return
		}
		h, err := New(Options{Remember: "/run/sysctls.json", Backend: backend()})
		if err == nil {
			defer h.Close()
			dev := tunnels.Device{Name: "gn-a"}
			for _, s := range []tunnels.Step{
				{Kind: tunnels.DeviceKind, Device: &dev},
				{Kind: tunnels.RouteKind, Route: &tunnels.Route{Table: 7001, Prefix: prefixes("203.0.113.0/24")[0], Unreachable: true}},
				{Kind: tunnels.RuleKind, Rule: &tunnels.Rule{Family: 4, Priority: 5000, Table: 7001}},
				{Kind: tunnels.FilterKind, Filter: &tunnels.Filter{Table: "ginnel_a"}},
			} {
				s.Op = tunnels.Add
				errs[s.Kind] = h.Apply(context.Background(), s)
			}
		}
		done <- err
	}()
	must(t, <-done)
	for kind, err := range errs {
		hint, _ := errors.AsType[*wireguard.Error](err)
		if !errors.Is(err, wireguard.ErrNoCapability) || hint == nil || hint.Hint() == "" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestNewNeedsAFile(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("sysctls would not be remembered")
	}
	path := filepath.Join(t.TempDir(), "sysctls.json")
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	if _, err := New(Options{Remember: path}); err == nil {
		t.Error("a file that cannot be read means that we know not what to put back")
	}
}
