package tunnels_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
)

// opened is who may open connections by a Filter, as text.
func opened(f tunnels.Filter) string {
	var words []string
	if f.AnyIn {
		words = append(words, "in any")
	}
	if f.AnyOut {
		words = append(words, "out any")
	}
	for _, way := range []struct {
		name string
		list []tunnels.Opening
	}{{"in", f.In}, {"out", f.Out}, {"across", f.Across}, {"gateway", f.Gateway}} {
		for _, o := range way.list {
			ports := ""
			if len(o.Ports) > 0 {
				ports = fmt.Sprint(o.Ports)
			}
			words = append(words, fmt.Sprintf("%s %v>%v%s", way.name, o.From, o.To, ports))
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.Join(words, " "), "[]>", "any>"), ">[]", ">any")
}

func TestOpenings(t *testing.T) {
	ports := []string{"tcp/9100"}
	for _, c := range []struct {
		name      string
		allow     []tunnels.Allow
		site, hub string
	}{
		{"none", nil, "out any", "in any"},
		{"the hub's side into the sites", []tunnels.Allow{{From: "198.51.100.10/32", To: "sites", Ports: ports}},
			"out any in [198.51.100.10/32]>any[tcp/9100]", "in any out [198.51.100.10/32]>any[tcp/9100]"},
		{"more than the hub's side into the sites", []tunnels.Allow{{From: "198.51.0.0/16", To: "sites"}},
			"out any in [198.51.0.0/16]>any", "in any out [198.51.100.0/24]>any across [198.51.0.0/16]>any"},
		{"into this site", []tunnels.Allow{{From: "198.51.100.10/32", To: "192.168.10.9/32", Ports: ports}},
			"out any in [198.51.100.10/32]>[192.168.10.9/32][tcp/9100]", "in any out [198.51.100.10/32]>[192.168.10.9/32][tcp/9100]"},
		{"into another", []tunnels.Allow{{From: "198.51.100.10/32", To: "192.168.20.0/24"}},
			"out any", "in any out [198.51.100.10/32]>[192.168.20.0/24]"},
		{"the sites out, restricted", []tunnels.Allow{{From: "sites", To: "198.51.100.0/24", Ports: ports}},
			"out any>[198.51.100.0/24][tcp/9100]", "in any>[198.51.100.0/24][tcp/9100]"},
		{"restricted, and one site more", []tunnels.Allow{{From: "sites", To: "198.51.100.20/32"}, {From: "192.168.10.5/32", To: "198.51.100.0/24"}},
			"out any>[198.51.100.20/32] out [192.168.10.5/32]>[198.51.100.0/24]",
			"in any>[198.51.100.20/32] in [192.168.10.5/32]>[198.51.100.0/24]"},
		{"site to site", []tunnels.Allow{{From: "192.168.10.0/24", To: "192.168.20.0/24", Ports: ports}},
			"out any", "in any across [192.168.10.0/24]>[192.168.20.0/24][tcp/9100]"},
		{"site to site, the other way", []tunnels.Allow{{From: "192.168.20.0/24", To: "192.168.10.0/24"}},
			"out any in [192.168.20.0/24]>[192.168.10.0/24]", "in any across [192.168.20.0/24]>[192.168.10.0/24]"},
		{"all sites to all sites", []tunnels.Allow{{From: "sites", To: "sites", Ports: ports}},
			"in any>any[tcp/9100] out any>any[tcp/9100]", "across any>any[tcp/9100]"},
		{"to a gateway itself", []tunnels.Allow{{From: "198.51.100.10/32", To: "100.64.0.7/32", Ports: []string{"tcp/22"}}},
			"out any gateway [198.51.100.10/32]>[100.64.0.7/32][tcp/22]", "in any out [198.51.100.10/32]>[100.64.0.7/32][tcp/22]"},
		{"to the hub itself", []tunnels.Allow{{From: "sites", To: "100.64.0.1/32", Ports: ports}},
			"out any>[100.64.0.1/32][tcp/9100]", "gateway any>[100.64.0.1/32][tcp/9100]"},
		{"what is nobody's", []tunnels.Allow{{From: "203.0.113.0/24", To: "203.0.113.0/24"}},
			"out any", "in any across [203.0.113.0/24]>[203.0.113.0/24]"},
	} {
		for _, end := range []struct {
			spec tunnels.Spec
			want string
		}{{site(), c.site}, {hub(), c.hub}} {
			n := &end.spec.Networks[0]
			n.Allow = c.allow
			want, _ := tunnels.Want(end.spec, facts(), resolve)
			if got := opened(want.Filters[0]); got != end.want {
				t.Errorf("%s, at a %s: %s, want %s", c.name, n.Role, got, end.want)
			}
		}
	}
}

// The port for test packets is open at a hub, at its own addresses, and nowhere else.
func TestEchoPort(t *testing.T) {
	for _, end := range []struct {
		spec tunnels.Spec
		want string
	}{{site(), "out any"}, {hub(), "in any gateway any>[100.64.0.1/32][udp/8620]"}} {
		end.spec.Networks[0].EchoPort = 8620
		want, _ := tunnels.Want(end.spec, facts(), resolve)
		if got := opened(want.Filters[0]); got != end.want {
			t.Errorf("at a %s: %s, want %s", end.spec.Networks[0].Role, got, end.want)
		}
	}
}

// A site whose LAN the network calls otherwise is known by that name only.
func TestOpeningsOfAMappedLAN(t *testing.T) {
	spec := site()
	n := &spec.Networks[0]
	n.LAN = makePrefixes("192.168.10.0/24", "192.168.11.0/25")
	n.Map = []tunnels.Map{{LAN: makePrefixes("192.168.10.0/24")[0], As: makePrefixes("100.64.120.0/24")[0]},
		{LAN: makePrefixes("192.168.11.0/25")[0], As: makePrefixes("100.64.121.128/25")[0]}}
	from := "198.51.100.10/32"
	for to, want := range map[string]string{
		"sites":             ">any",
		"100.64.120.0/24":   ">[192.168.10.0/24]",
		"100.64.120.9/32":   ">[192.168.10.9/32]",
		"100.64.120.64/26":  ">[192.168.10.64/26]",
		"100.64.121.133/32": ">[192.168.11.5/32]",
		"100.64.121.192/26": ">[192.168.11.64/26]",
		"100.64.112.0/20":   ">[192.168.10.0/24 192.168.11.0/25]",
		"192.168.10.0/24":   "", // of another site, that has no map
	} {
		n.Allow = []tunnels.Allow{{From: from, To: to}}
		state, _ := tunnels.Want(spec, facts(), resolve)
		got := opened(state.Filters[0])
		if want != "" {
			want = " in [198.51.100.10/32]" + want
		}
		if want = "out any" + want; got != want {
			t.Errorf("to %s: %s, want %s", to, got, want)
		}
	}
}

// A site that comes or goes leaves a hub's table as it is.
func TestFilterOfAHubIsOfNoSite(t *testing.T) {
	sum := func(sites int) string {
		spec := hub()
		n := &spec.Networks[0]
		n.Allow = []tunnels.Allow{{From: "198.51.100.10/32", To: "sites", Ports: []string{"tcp/9100"}}, {From: "sites", To: "sites"}}
		n.Devices[0].Peers = nil
		for i := range sites {
			lan := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i / 2), byte(i % 2 * 128)}), 25)
			n.Devices[0].Peers = append(n.Devices[0].Peers, tunnels.PeerSpec{Name: fmt.Sprintf("site-%d", i),
				PublicKey: makeKeys(1)[0].Public(), AllowedIPs: []netip.Prefix{lan}})
		}
		want, problems := tunnels.Want(spec, facts(), resolve)
		if len(problems) > 0 || len(want.Devices[0].Peers) != sites {
			t.Fatalf("%d peers, problems %v", len(want.Devices[0].Peers), problems)
		}
		return want.Filters[0].Sum()
	}
	if sum(500) != sum(501) {
		t.Error("one site more is another table")
	}
}

func TestOurAddressOfAnotherLink(t *testing.T) {
	spec := hub()
	spec.Networks[0].Addresses = makePrefixes("100.64.0.1/32", "198.51.100.1/32")
	want, problems := tunnels.Want(spec, facts(), resolve)
	if len(problems) != 1 || problems[0].String() != "kestrel: our address 198.51.100.1 is on eth2 already" || problems[0].Hint == "" {
		t.Errorf("problems %v", problems)
	}
	if shared := want.Filters[0].Shared; fmt.Sprint(shared) != "[198.51.100.1/32]" {
		t.Errorf("shared %v: what leaves by that link from its address would be refused", shared)
	}
}

func TestEveryRefusalHasASentence(t *testing.T) {
	for _, rule := range []string{tunnels.RefusedAstray, tunnels.RefusedSpoofed, tunnels.RefusedOtherNetwork, tunnels.RefusedNotListed,
		tunnels.RefusedIntoLAN, tunnels.RefusedIntoSites, tunnels.RefusedSiteToSite, tunnels.RefusedIntoGateway, tunnels.RefusedPort,
		tunnels.RefusedForward} {
		if tunnels.RefusalText(rule) == "" || strings.ContainsAny(rule, " \t") {
			t.Errorf("%q says %q", rule, tunnels.RefusalText(rule))
		}
	}
	if tunnels.RefusalText("else") != "" {
		t.Error("there is a sentence for nothing")
	}
}
