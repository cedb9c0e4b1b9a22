package tunnels_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
)

func TestFormatPlan(t *testing.T) {
	want, have := worldOne(), worldOne()
	p := &want.Devices[0].Peers[0]
	more := netip.MustParsePrefix("192.0.2.128/25")
	p.AllowedIPs, p.Endpoint = append(p.AllowedIPs, more), netip.MustParseAddrPort("192.0.2.11:51820")
	want.Routes = append(want.Routes,
		tunnels.Route{Network: "kestrel", Table: 7101, Prefix: more, Unreachable: true, Metric: tunnels.UnreachableMetric},
		tunnels.Route{Network: "kestrel", Table: 7101, Prefix: more, Device: "gn-kestrel-n", Metric: tunnels.RouteMetric})
	f := &want.Filters[0]
	f.Ports, f.Uplinks = []int{51821}, []string{"eth0"}
	f.Digest = f.Sum()
	steps := tunnels.Plan(want, have)
	golden(t, tunnels.FormatPlan([]string{"kestrel", "heron"}, steps), `
kestrel  3 steps
  ~ filter  ginnel_kestrel: made anew, UDP 51821 on eth0 only
  ~ peer    hub-north allowed_ips + 192.0.2.128/25
  ~ peer    hub-north endpoint 192.0.2.10:51820 -> 192.0.2.11:51820
heron    no change

No tunnel goes down. No device, key or address changes.
Nothing of anyone else's on this host is touched. Nothing was written.
`)
	b, err := json.Marshal(tunnels.StepsJSON(steps[:2]))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "\n"+string(b)+"\n", `
[{"network":"kestrel","op":"change","kind":"filter","text":"ginnel_kestrel: made anew, UDP 51821 on eth0 only","cuts":false},{"network":"kestrel","op":"change","kind":"peer","text":"hub-north allowed_ips + 192.0.2.128/25","cuts":false,"prefixes":["192.0.2.128/25"]}]
`)
}

// What a filter lets be opened is what one wants to see of it.
func TestFilterText(t *testing.T) {
	allow := []tunnels.Allow{{From: "sites", To: "198.51.100.0/24", Ports: []string{"tcp/443", "tcp/8443"}},
		{From: "198.51.100.10/32", To: "sites", Ports: []string{"tcp/9100"}}}
	for n, want := range map[int][2]string{
		0: {"ginnel_kestrel: keeps gn-kestrel-n, gn-kestrel-s apart", "ginnel_kestrel: UDP 51820 on eth0 only"},
		1: {"ginnel_kestrel: lan -> 198.51.100.0/24 tcp/443, tcp/8443", "ginnel_kestrel: sites -> 198.51.100.0/24 tcp/443, tcp/8443"},
		2: {"ginnel_kestrel: 198.51.100.10/32 -> lan tcp/9100; 1 more", "ginnel_kestrel: sites -> 198.51.100.0/24 tcp/443, tcp/8443; 1 more"},
	} {
		for i, spec := range []tunnels.Spec{site(), hub()} {
			spec.Networks = spec.Networks[:1]
			spec.Networks[0].Allow = allow[:n]
			state, _ := tunnels.Want(spec, facts(), resolve)
			if got := tunnels.Plan(state, tunnels.State{})[0].Text; got != want[i] || len(got) > 67 {
				t.Errorf("%s, should be %s", got, want[i])
			}
		}
	}
}

// Nor is a map hidden behind the ports.
func TestFilterTextOfAMap(t *testing.T) {
	f := tunnels.Filter{Table: "ginnel_heron", Ports: []int{51820}, Uplinks: []string{"eth0"}, Maps: []tunnels.Map{
		{LAN: netip.MustParsePrefix("192.168.1.0/24"), As: netip.MustParsePrefix("100.64.120.0/24")}}}
	f.Digest = f.Sum()
	had := f
	had.Maps, had.Digest = nil, "other"
	got := tunnels.Plan(tunnels.State{Filters: []tunnels.Filter{f}}, tunnels.State{Filters: []tunnels.Filter{had}})[0].Text
	if want := "ginnel_heron: 192.168.1.0/24 known as 100.64.120.0/24"; got != want {
		t.Errorf("%s, should be %s", got, want)
	}
}

func TestFormatPlanOfNothing(t *testing.T) {
	golden(t, tunnels.FormatPlan([]string{"kestrel", "heron"}, nil), `
kestrel  no change
heron    no change

The host is as the config wants it. Nothing was written.
`)
	if b, _ := json.Marshal(tunnels.StepsJSON(nil)); string(b) != "[]" {
		t.Errorf("no steps are %s in JSON", b)
	}
}

func TestFormatPlanOfRulesOfBothFamilies(t *testing.T) {
	want, have := worldOne(), worldOne()
	for _, family := range []int{4, 6} {
		want.Rules = append(want.Rules, tunnels.Rule{Network: "kestrel", Family: family, Priority: 5013, Iif: "eth1", Table: 7101},
			tunnels.Rule{Network: "kestrel", Family: family, Priority: 5014 + family, Iif: "eth2", Table: 7101})
	}
	golden(t, strings.Join(strings.SplitAfter(tunnels.FormatPlan(nil, tunnels.Plan(want, have)), "\n")[:4], ""), `
kestrel  3 steps
  + rule    5013: iif eth1 lookup 7101 (IPv4, IPv6)
  + rule    5018: iif eth2 lookup 7101
  + rule    5020: iif eth2 lookup 7101 (IPv6)
`)
}

func TestFormatPlanThatCuts(t *testing.T) {
	want, have := worldOne(), worldOne()
	want.Devices[0].PrivateKey, want.Devices[0].PublicKey = worldKeys[1], worldKeys[1].Public()
	want.Devices = want.Devices[:1]
	want.Devices[0].Peers = want.Devices[0].Peers[:1]
	have.Rules = append(have.Rules, tunnels.Rule{Family: 4, Priority: 9, Iif: "eth7", Table: 9})
	k := func(i int) string { return worldKeys[i].Public().String()[:8] + "..." }
	golden(t, tunnels.FormatPlan([]string{"kestrel"}, tunnels.Plan(want, have)), `
kestrel   3 steps
  ~ key     gn-kestrel-n public key `+k(0)+` -> `+k(1)+`
  - peer    hub-third on gn-kestrel-n
  - device  gn-kestrel-s
leftover  1 step
  - rule    9: iif eth7 lookup 9

Goes down: gn-kestrel-n (until the next handshake), hub-third on gn-kestrel-n,
    gn-kestrel-s.
Added, changed or removed: 1 device, 1 key.
Nothing of anyone else's on this host is touched. Nothing was written.
`)
}

// golden compares, and holds to 80 columns of ASCII.
func golden(t *testing.T, got, want string) {
	t.Helper()
	if got != strings.TrimPrefix(want, "\n") && got != want {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
	for line := range strings.Lines(got) {
		if len(line) > 81 && !strings.HasPrefix(line, "[{") {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
		for _, r := range line {
			if r > 126 {
				t.Errorf("%q is not ASCII", line)
			}
		}
	}
}
