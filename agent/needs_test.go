package agent

import (
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

func TestNeeds(t *testing.T) {
	c := &config.Config{Networks: []config.Network{
		{Name: "kestrel", Hubs: []config.Hub{{Peer: config.Peer{Name: "hub-north"}}, {Peer: config.Peer{Name: "hub-south"}}}},
		{Name: "heron", Role: "hub"},
	}}
	links := []block.LinkSnapshot{
		{Name: "eth0", Uplink: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}},
		{Name: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.10.1/24")}},
	}
	spec := func(kind, network, target string) checks.Spec {
		return checks.Spec{Name: "a", Kind: kind, Target: checks.Target{Network: network, Address: target}}
	}
	beside, through := spec("tcp", "", "203.0.113.5:443"), spec("tcp", "kestrel", "198.51.100.20:443")
	timeout := checks.Result{Verdict: checks.Failed, Reason: checks.Timeout, Sent: 1}
	refused := checks.Result{Verdict: checks.Failed, Reason: checks.Refused, Sent: 1, Received: 1}
	noName := checks.Result{Verdict: checks.Failed, Reason: checks.NotResolved}
	none := checks.Result{}
	for _, test := range []struct {
		name   string
		site   why.Code
		tunnel string // which is down, or "?": whose last run has failed
		spec   checks.Spec
		result checks.Result // zero: it is asked before the run
		want   string        // what it waits for
	}{
		{"all well", "", "", beside, none, ""},
		{"no cable", why.NoCarrier, "", beside, none, "line"},
		{"no address", why.NoAddress, "", beside, none, "line"},
		{"no route", why.NoRoute, "", beside, none, "line"},
		{"the router is silent", why.RouterSilent, "", beside, none, "line"},
		{"nothing answers: that is known from checks", why.LineDead, "", beside, none, ""},
		{"no cable, and on the LAN", why.NoCarrier, "", spec("icmp", "", "192.168.10.7"), none, ""},
		{"no cable, and on this host", why.NoCarrier, "", spec("http", "", "http://127.0.0.1:8080/x"), none, ""},
		{"no cable, and on the WAN's own prefix", why.NoCarrier, "", spec("icmp", "", "192.0.2.1"), none, "line"},
		{"no cable, by name", why.NoCarrier, "", spec("http", "", "https://records.example.net/"), none, "line"},
		{"no cable, and it looks at the cable", why.NoCarrier, "", spec("link", "", "eth0"), none, ""},
		{"no cable, through a tunnel that has not noticed", why.NoCarrier, "", through, none, ""},
		{"its tunnel is down", "", "kestrel/hub-north", through, none, "kestrel"},
		{"a standby is down", "", "kestrel/hub-south", through, none, ""},
		{"the hub's own network", "", "heron", spec("icmp", "heron", "100.64.64.7"), none, "heron"},
		{"it looks at the tunnel that is down", "", "kestrel/hub-north", spec("handshake", "kestrel", "hub-north"), none, ""},

		{"silent, and all well", "", "", beside, timeout, ""},
		{"silent, and the cable has just been pulled", why.NoCarrier, "", beside, timeout, "line"},
		{"refused is an answer", why.NoCarrier, "", beside, refused, ""},
		{"silent, and so was the tunnel's last echo", "", "?", through, timeout, "kestrel"},
		{"silent, and the tunnel answers", "", "", through, timeout, ""},
		{"refused through a bad tunnel", "", "?", through, refused, ""},
		{"good", why.NoCarrier, "", beside, checks.Result{Verdict: checks.OK}, ""},
		{"slow", why.NoCarrier, "", beside, checks.Result{Verdict: checks.Degraded, Reason: checks.Slow}, ""},
		{"no name, and the resolver is silent", why.ResolverSilent, "", beside, noName, "resolver"},
		{"no name, and the resolver answers", "", "", beside, noName, ""},
		{"it asks a resolver, and the site's is silent", why.ResolverSilent, "", spec("dns", "", "192.0.2.53"), noName, ""},
		{"silent, and the resolver is", why.ResolverSilent, "", beside, timeout, ""},
		{"the resolver is silent before the run: an address may be known", why.ResolverSilent, "", beside, none, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := needsOf(c, why.Findings{Site: why.Finding{Code: test.site}}, "eth0", links)
			tunnel := func(name string) (checks.State, checks.Verdict) {
				switch {
				case name == test.tunnel:
					return checks.Down, checks.Failed
				case test.tunnel == "?":
					return checks.Up, checks.Failed
				}
				return checks.Up, checks.OK
			}
			waits, blocked := n.before(test.spec, tunnel)
			if test.result.Verdict != "" {
				waits, blocked = n.after(test.spec, test.result, tunnel)
			}
			if !blocked {
				waits = ""
			}
			if waits != test.want {
				t.Errorf("waits for %q, want %q", waits, test.want)
			}
		})
	}
}

func TestNeedsTellAPairOfTheWay(t *testing.T) {
	for _, test := range []struct {
		found why.Findings
		want  checks.Way
	}{
		{why.Findings{}, checks.WayNotKnown},
		{why.Findings{Beyond: "hub-north answers over the same line"}, checks.WayLives},
		{why.Findings{Site: why.Finding{Code: why.NoCarrier}}, checks.WayDead},
		{why.Findings{Site: why.Finding{Code: why.LineDead}}, checks.WayDeadBeyond},
		{why.Findings{Site: why.Finding{Code: why.ForeignDrop}, Beyond: "internet answers"}, checks.WayLives},
	} {
		if got := needsOf(nil, test.found, "", nil).way; got != test.want {
			t.Errorf("%+v: %v, want %v", test.found, got, test.want)
		}
	}
}

func TestOwnerOfAPair(t *testing.T) {
	s := checks.Spec{Kind: "tcp"}
	for blame, want := range map[checks.Blame]string{
		checks.BlameNobody: "service", checks.BlameService: "service", checks.BlameTunnel: "centre", checks.BlameLine: "line", checks.BlameSupplier: "supplier",
	} {
		if got := owner(s, checks.Edge{To: checks.Down, Blame: blame}); got != want {
			t.Errorf("%q is for %q, want %q", blame, got, want)
		}
	}
}

func TestNeedsKnowWhatIsPaidFor(t *testing.T) {
	c := &config.Config{Manners: checks.Manners{Metered: []string{"wwan0"}}}
	lan := []block.LinkSnapshot{{Name: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.10.1/24")}}}
	for _, test := range []struct {
		uplink, kind, network, target string
		want                          bool
	}{
		{"wwan0", "tcp", "", "203.0.113.5:443", true},
		{"wwan0", "tcp", "kestrel", "192.168.10.7:443", true},
		{"wwan0", "icmp", "", "192.168.10.7", false},
		{"wwan0", "handshake", "kestrel", "hub-north", false},
		{"eth0", "tcp", "", "203.0.113.5:443", false},
		{"", "tcp", "", "203.0.113.5:443", false},
	} {
		s := checks.Spec{Kind: test.kind, Target: checks.Target{Network: test.network, Address: test.target}}
		if got := needsOf(c, why.Findings{}, test.uplink, lan).paid(s); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
