package tunnels_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// reach applies plans until there is nothing left, and says how many it took.
func reach(t *testing.T, h *tunnelstest.Host, want tunnels.State) int {
	t.Helper()
	for rounds := range 200 {
		steps := tunnels.Plan(want, h.State())
		if len(steps) == 0 {
			return rounds
		}
		for _, s := range steps {
			if err := h.Apply(t.Context(), s); err != nil && h.Fail == nil {
				t.Fatalf("of the plan\n%s%v", lines(steps), err)
			} else if err != nil {
				break
			}
		}
	}
	t.Fatalf("there is always something left:\n%s", lines(tunnels.Plan(want, h.State())))
	return 0
}

// lines is a plan as text.
func lines(steps []tunnels.Step) string {
	var b strings.Builder
	for _, s := range steps {
		cuts := ""
		if s.Cuts {
			cuts = " (cuts)"
		}
		fmt.Fprintf(&b, "%s: %c %s %s%s\n", s.Network, s.Op, s.Kind, s.Text, cuts)
	}
	return b.String()
}

// checkPlans holds what is true of every pair of States.
func checkPlans(t *testing.T, from, to uint64) {
	t.Helper()
	a, b := randomState(from), randomState(to)
	if steps := tunnels.Plan(a, a); len(steps) != 0 {
		t.Fatalf("Plan(x, x) has steps:\n%s", lines(steps))
	}
	h := &tunnelstest.Host{}
	if n := reach(t, h, a); n > 1 {
		t.Fatalf("%d plans to get there from nothing, want 1", n)
	}
	checkOrder(t, tunnels.Plan(b, h.State()))
	checkMoments(t, h, b)
	if n := reach(t, h, b); n > 0 {
		t.Fatalf("%d more plans to get from one to the other, want none", n)
	}
	reach(t, h, tunnels.State{})
	if left := h.State(); fmt.Sprint(left) != fmt.Sprint(tunnels.State{}) {
		t.Fatalf("withdrawn, and there is still %+v", left)
	}
}

// checkOrder holds that nothing goes before what comes is there, and that what
// refuses comes before what carries.
func checkOrder(t *testing.T, steps []tunnels.Step) {
	t.Helper()
	carries := map[string]bool{}
	removed := false
	for _, s := range steps {
		if len(s.Text) > 67 {
			t.Errorf("%q is too wide", s.Text)
		}
		refuses := s.Kind == tunnels.FilterKind || s.Kind == tunnels.RuleKind || s.Route != nil && s.Route.Unreachable
		switch {
		case s.Op == tunnels.Remove && s.Kind != tunnels.DeviceKind:
			removed = true
		case s.Op == tunnels.Add && removed:
			t.Errorf("%s is added after something was removed:\n%s", s.Text, lines(steps))
		case s.Op == tunnels.Add && refuses && carries[s.Network]:
			t.Errorf("%s is added after what carries:\n%s", s.Text, lines(steps))
		case s.Op == tunnels.Add && s.Kind == tunnels.RouteKind && !refuses:
			carries[s.Network] = true
		}
		if s.Kind == tunnels.PortKind && s.Device.ListenPort == 0 && !s.Cuts {
			t.Error("a port is left without a word")
		}
	}
}

// checkMoments takes the plan from one State to another write by write, and holds
// what has to be true at every moment.
func checkMoments(t *testing.T, h *tunnelstest.Host, to tunnels.State) {
	t.Helper()
	before, wanted := h.State(), setOf(to)
	was := setOf(before)
	steps := tunnels.Plan(to, before)
	for _, s := range steps {
		for _, w := range s.Writes() {
			if err := h.Apply(t.Context(), w); err != nil {
				t.Fatalf("of the plan\n%s%v", lines(steps), err)
			}
			now := h.State()
			there := setOf(now)
			wrong := func(format string, args ...any) {
				t.Fatalf("after %c %s of %c %s: %s\nof the plan\n%s", w.Op, w.Text, s.Op, s.Text, fmt.Sprintf(format, args...), lines(steps))
			}
			for _, r := range now.Routes {
				if !r.Unreachable && !there.refuses[refusal{r.Table, r.Prefix}] {
					wrong("%v leads to %s and nothing refuses behind it", r.Prefix, r.Device)
				}
			}
			for _, r := range now.Rules {
				r.Network = ""
				for refused := range wanted.refuses {
					if refused.table == r.Table && !was.rules[r] && !there.refuses[refused] {
						wrong("rule %d is there before %v is refused", r.Priority, refused.prefix)
					}
				}
				for refused := range was.refuses {
					if refused.table == r.Table && !wanted.rules[r] && !there.refuses[refused] {
						wrong("rule %d is still there and %v no longer refused", r.Priority, refused.prefix)
					}
				}
			}
			for refused := range was.refuses {
				if wanted.refuses[refused] && !there.refuses[refused] {
					wrong("%v is not refused for a moment", refused.prefix)
				}
			}
		}
	}
}

// refusal is an unreachable route.
type refusal struct {
	table  int
	prefix netip.Prefix
}

type set struct {
	refuses map[refusal]bool
	rules   map[tunnels.Rule]bool
	devices map[string]bool
}

func setOf(s tunnels.State) set {
	all := set{map[refusal]bool{}, map[tunnels.Rule]bool{}, map[string]bool{}}
	for _, r := range s.Routes {
		if r.Unreachable {
			all.refuses[refusal{r.Table, r.Prefix}] = true
		}
	}
	for _, r := range s.Rules {
		r.Network = ""
		all.rules[r] = true
	}
	for _, d := range s.Devices {
		all.devices[d.Name] = true
	}
	return all
}

func TestPlanFromAnyToAny(t *testing.T) {
	for seed := range uint64(400) {
		checkPlans(t, seed, seed*31+1)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(0), uint64(1<<63))
	f.Fuzz(checkPlans)
}

// Whatever step fails, and however often, the next plans get there.
func TestPlanAfterFailures(t *testing.T) {
	for seed := range uint64(60) {
		h := &tunnelstest.Host{Fail: func(n int, _ tunnels.Step) error {
			if n%5 == int(seed)%5 {
				return errors.New("refused on purpose")
			}
			return nil
		}}
		reach(t, h, randomState(seed))
		reach(t, h, randomState(seed+1000))
	}
}

// worldOne is a site with two hubs, as observed.
func worldOne() tunnels.State {
	return tunnels.State{
		Devices: []tunnels.Device{
			{Network: "kestrel", Name: "gn-kestrel-n", Up: true, MTU: 1420, PrivateKey: worldKeys[0], PublicKey: worldKeys[0].Public(),
				Addresses: makePrefixes("100.64.0.7/32"), ListenPort: 51821,
				Peers: []tunnels.Peer{
					{Name: "hub-north", PublicKey: worldKeys[2].Public(), AllowedIPs: makePrefixes("198.51.100.0/24", "100.64.0.1/32"),
						Endpoint: netip.MustParseAddrPort("192.0.2.10:51820"), Keepalive: 25 * time.Second},
					{Name: "hub-third", PublicKey: worldKeys[3].Public(), AllowedIPs: makePrefixes("203.0.113.0/24")},
				}},
			{Network: "kestrel", Name: "gn-kestrel-s", Up: true, MTU: 1420, PrivateKey: worldKeys[0], PublicKey: worldKeys[0].Public()},
		},
		Routes: []tunnels.Route{
			{Network: "kestrel", Table: 7101, Prefix: netip.MustParsePrefix("198.51.100.0/24"), Unreachable: true, Metric: tunnels.UnreachableMetric},
			{Network: "kestrel", Table: 7101, Prefix: netip.MustParsePrefix("198.51.100.0/24"), Device: "gn-kestrel-n", Metric: tunnels.RouteMetric},
		},
		Rules:    []tunnels.Rule{{Network: "kestrel", Family: 4, Priority: 5012, From: netip.MustParsePrefix("192.168.10.0/24"), Table: 7101}},
		Filters:  []tunnels.Filter{{Network: "kestrel", Table: "ginnel_kestrel", Digest: tunnels.Filter{Network: "kestrel", Table: "ginnel_kestrel"}.Sum()}},
		Settings: []tunnels.Setting{{Network: "kestrel", Path: "net/ipv4/conf/gn-kestrel-n/forwarding", Value: "1"}},
	}
}

func TestPlanIsSmall(t *testing.T) {
	k := func(i int) string { return worldKeys[i].Public().String()[:8] + "..." }
	for _, c := range []struct {
		name   string
		change func(want, have *tunnels.State)
		steps  string
	}{
		{"nothing", func(_, _ *tunnels.State) {}, ""},
		{"a port that the kernel chose", func(w, _ *tunnels.State) { w.Devices[0].ListenPort = 0 }, ""},
		{"a port", func(w, _ *tunnels.State) { w.Devices[0].ListenPort = 51822 },
			"kestrel: ~ port gn-kestrel-n UDP 51821 -> 51822 (cuts)\n"},
		{"the key", func(w, _ *tunnels.State) {
			w.Devices[1].PrivateKey, w.Devices[1].PublicKey = worldKeys[1], key.Public{}
		},
			"kestrel: ~ key gn-kestrel-s public key " + k(0) + " -> " + k(1) + " (cuts)\n"},
		{"a first key", func(_, h *tunnels.State) { h.Devices[1].PublicKey = key.Public{} },
			"kestrel: ~ key gn-kestrel-s public key none -> " + k(0) + "\n"},
		{"set down", func(_, h *tunnels.State) { h.Devices[0].Up = false }, "kestrel: ~ device gn-kestrel-n up\n"},
		{"renamed, with all that it carries", func(_, h *tunnels.State) {
			d := &h.Devices[0]
			d.Found, d.Up, h.Routes[1].Device = "eth7", false, "eth7"
			h.Settings = nil
		}, "kestrel: ~ device gn-kestrel-n is called eth7 here; named back\n"},
		{"renamed, and without its address and routes", func(_, h *tunnels.State) {
			d := &h.Devices[0]
			d.Found, d.Addresses, h.Routes, h.Rules = "eth7", nil, nil, nil
		}, `kestrel: ~ device gn-kestrel-n is called eth7 here; named back
kestrel: + route unreachable 198.51.100.0/24 table 7101
kestrel: + rule 5012: from 192.168.10.0/24 lookup 7101
`},
		{"renamed, and no longer wanted", func(w, h *tunnels.State) {
			h.Devices[0].Found = "eth7"
			*w = tunnels.State{Devices: w.Devices[1:]}
			h.Routes, h.Rules, h.Filters, h.Settings = nil, nil, nil, nil
		}, "kestrel: - device gn-kestrel-n (cuts)\n"},
		{"the MTU", func(w, _ *tunnels.State) { w.Devices[0].MTU = 1380 }, "kestrel: ~ mtu gn-kestrel-n 1420 -> 1380\n"},
		{"an address that Linux gave", func(_, h *tunnels.State) {
			h.Devices[0].Addresses = append(h.Devices[0].Addresses, netip.MustParsePrefix("fe80::1/64"))
		}, ""},
		{"another address", func(w, _ *tunnels.State) { w.Devices[0].Addresses = makePrefixes("100.64.0.8/32") },
			"kestrel: + address 100.64.0.8/32 dev gn-kestrel-n\nkestrel: - address 100.64.0.7/32 dev gn-kestrel-n\n"},
		{"an endpoint", func(w, _ *tunnels.State) {
			w.Devices[0].Peers[0].Endpoint = netip.MustParseAddrPort("192.0.2.11:51820")
		},
			"kestrel: ~ peer hub-north endpoint 192.0.2.10:51820 -> 192.0.2.11:51820\n"},
		{"an endpoint as good", func(w, _ *tunnels.State) {
			p := &w.Devices[0].Peers[0]
			p.Endpoint, p.Alternatives = netip.MustParseAddrPort("192.0.2.11:51820"), []netip.AddrPort{p.Endpoint}
		}, ""},
		{"an endpoint in its other form", func(_, h *tunnels.State) {
			h.Devices[0].Peers[0].Endpoint = netip.MustParseAddrPort("[::ffff:192.0.2.10]:51820")
		}, ""},
		{"an endpoint not known", func(w, _ *tunnels.State) { w.Devices[0].Peers[0].Endpoint = netip.AddrPort{} }, ""},
		{"a first endpoint", func(_, h *tunnels.State) { h.Devices[0].Peers[0].Endpoint = netip.AddrPort{} },
			"kestrel: ~ peer hub-north endpoint 192.0.2.10:51820\n"},
		{"a first endpoint and keepalive in one write", func(_, h *tunnels.State) {
			h.Devices[0].Peers[0].Endpoint, h.Devices[0].Peers[0].Keepalive = netip.AddrPort{}, 0
		}, "kestrel: ~ peer hub-north endpoint 192.0.2.10:51820\n"},
		{"keepalive to nowhere", func(w, h *tunnels.State) {
			h.Devices[0].Peers[0].Endpoint, w.Devices[0].Peers[0].Endpoint = netip.AddrPort{}, netip.AddrPort{}
			w.Devices[0].Peers[0].Keepalive = 0
		}, ""},
		{"keepalive", func(w, _ *tunnels.State) { w.Devices[0].Peers[0].Keepalive = 0 },
			"kestrel: ~ peer hub-north keepalive 25s -> off\n"},
		{"preshared key", func(w, _ *tunnels.State) { w.Devices[0].Peers[0].PresharedKey = worldSecrets[1] },
			"kestrel: ~ peer hub-north preshared key\n"},
		{"a prefix more", func(w, _ *tunnels.State) {
			p := &w.Devices[0].Peers[0]
			p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix("192.0.2.128/25"))
		}, "kestrel: ~ peer hub-north allowed_ips + 192.0.2.128/25\n"},
		{"a prefix less", func(w, _ *tunnels.State) { w.Devices[0].Peers[0].AllowedIPs = makePrefixes("198.51.100.0/24") },
			"kestrel: ~ peer hub-north allowed_ips - 100.64.0.1/32 (cuts)\n"},
		{"a prefix less with its route", func(w, h *tunnels.State) {
			w.Devices[0].Peers[0].AllowedIPs = makePrefixes("198.51.100.0/24")
			h.Routes = append(h.Routes, tunnels.Route{Table: 7101, Prefix: netip.MustParsePrefix("100.64.0.1/32"),
				Device: "gn-kestrel-n", Metric: tunnels.RouteMetric})
		}, "kestrel: ~ peer hub-north allowed_ips - 100.64.0.1/32 (cuts)\n"},
		{"a prefix for another", func(w, _ *tunnels.State) {
			w.Devices[0].Peers[0].AllowedIPs[1] = netip.MustParsePrefix("100.64.0.2/32")
		},
			"kestrel: ~ peer hub-north allowed_ips + 100.64.0.2/32 - 100.64.0.1/32 (cuts)\n"},
		{"a prefix to another peer", func(w, _ *tunnels.State) {
			w.Devices[0].Peers[0].AllowedIPs = makePrefixes("198.51.100.0/24")
			w.Devices[0].Peers[1].AllowedIPs = makePrefixes("203.0.113.0/24", "100.64.0.1/32")
		}, "kestrel: ~ peer hub-third allowed_ips + 100.64.0.1/32\n"},
		{"a peer with another key", func(w, _ *tunnels.State) { w.Devices[0].Peers[1].PublicKey = worldKeys[4].Public() },
			"kestrel: ~ peer hub-third key " + k(3) + " -> " + k(4) + " on gn-kestrel-n (cuts)\n"},
		{"a route to the other hub", func(w, _ *tunnels.State) { w.Routes[1].Device = "gn-kestrel-s" },
			"kestrel: ~ route 198.51.100.0/24 dev gn-kestrel-n -> gn-kestrel-s table 7101\n"},
		{"a device lost with all it carried", func(_, h *tunnels.State) { h.Devices, h.Routes, h.Settings = h.Devices[1:], h.Routes[:1], nil },
			`kestrel: + device gn-kestrel-n MTU 1420, UDP 51821
kestrel: + setting net.ipv4.conf.gn-kestrel-n.forwarding = 1
kestrel: + address 100.64.0.7/32 dev gn-kestrel-n
kestrel: + peer hub-north ` + k(2) + ` on gn-kestrel-n endpoint 192.0.2.10:51820
kestrel: + peer hub-third ` + k(3) + ` on gn-kestrel-n
kestrel: + route 198.51.100.0/24 dev gn-kestrel-n table 7101
`},
		{"the network", func(w, _ *tunnels.State) { *w = tunnels.State{} },
			`kestrel: - device gn-kestrel-n (cuts)
kestrel: - device gn-kestrel-s (cuts)
kestrel: - rule 5012: from 192.168.10.0/24 lookup 7101
kestrel: - route unreachable 198.51.100.0/24 table 7101
kestrel: - filter ginnel_kestrel
`},
		{"two that exchange their ports", func(w, h *tunnels.State) {
			h.Devices[1].ListenPort = 51822
			w.Devices[0].ListenPort, w.Devices[1].ListenPort = 51822, 51821
		}, `kestrel: ~ port gn-kestrel-n UDP 51821 -> any (cuts)
kestrel: ~ port gn-kestrel-s UDP 51822 -> any (cuts)
kestrel: ~ port gn-kestrel-n UDP 51821 -> 51822 (cuts)
kestrel: ~ port gn-kestrel-s UDP 51822 -> 51821 (cuts)
`},
		{"a new device on the port of one that goes", func(w, h *tunnels.State) {
			w.Devices[1].ListenPort = 51821
			w.Devices = w.Devices[1:]
			w.Routes, w.Settings = w.Routes[:1], nil
		}, "kestrel: - device gn-kestrel-n (cuts)\nkestrel: ~ port gn-kestrel-s UDP 0 -> 51821 (cuts)\n"},
		{"a filter", func(w, _ *tunnels.State) {
			f := &w.Filters[0]
			f.Ports, f.Uplinks = []int{51821}, []string{"eth0"}
			f.Digest = f.Sum()
		},
			"kestrel: ~ filter ginnel_kestrel: made anew, UDP 51821 on eth0 only\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, have := worldOne(), worldOne()
			c.change(&want, &have)
			if got := lines(tunnels.Plan(want, have)); got != c.steps {
				t.Errorf("got\n%swant\n%s", got, c.steps)
			}
		})
	}
}
