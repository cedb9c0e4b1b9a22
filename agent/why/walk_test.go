package why

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

var (
	noon = time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)
	cut  = noon.Add(-17 * time.Minute)
)

// avocet is a site where all is well.
func avocet() Facts {
	tunnel := func(network, hub, device, service string, last byte) Tunnel {
		at := netip.AddrFrom4([4]byte{192, 0, 2, last})
		to := netip.MustParseAddr(service)
		return Tunnel{
			Network: network, Hub: hub, Device: device, State: checks.Up, Since: noon.Add(-72 * time.Hour), RTT: 11200 * time.Microsecond,
			There: true, Up: true, MTU: 1420, Key: true, Probed: true, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{100, 64, last, 7})},
			Rule: "5012: from 192.168.10.0/24 lookup 7102", Route: service + "/24 dev " + device + " table 7102", Table: 7102,
			Lookups:       []Lookup{{What: "the LAN", From: netip.MustParseAddr("192.168.10.20"), To: to, Device: device, Table: 7102}},
			Names:         []Name{{Name: hub + ".example.net", Addresses: []netip.Addr{at}, Asked: noon.Add(-time.Minute)}},
			Endpoint:      netip.AddrPortFrom(at, 51820),
			LastHandshake: noon.Add(-41 * time.Second), Quiet: noon.Add(-5 * time.Second), Received: 4711,
		}
	}
	return Facts{
		Gateway: "avocet-1", Name: "Avocet Surgery", Version: "0.1.0", At: noon,
		Config: Config{There: true, Text: "by hand"},
		WAN: WAN{
			Links:    []Link{{Name: "eth0", There: true, Up: true, Carrier: true, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.129")}}},
			Gateways: []Gateway{{Address: netip.MustParseAddr("192.0.2.128"), Link: "eth0", Answers: Yes}},
		},
		Clock:     Clock{Synced: true, Within: 12 * time.Millisecond},
		Collector: Collector{Name: "collector.example.net", LastReceipt: noon.Add(-4 * time.Second)},
		Tunnels: []Tunnel{
			tunnel("kestrel", "hub-north", "gn-kestrel-n", "198.51.100.0", 10),
			tunnel("heron", "hub-south", "gn-heron-s", "203.0.113.0", 20),
		},
		Checks: []Check{
			{Name: "records", Network: "kestrel", Target: "198.51.100.20:443", State: checks.Up, RTT: 12400 * time.Microsecond},
			{Name: "results", Network: "heron", Target: "203.0.113.40:443", State: checks.Up, RTT: 25 * time.Millisecond},
			{Name: "internet", Target: "192.0.2.53:53", State: checks.Up, RTT: 8100 * time.Microsecond},
		},
	}
}

// down is the second tunnel as it is when its hub is silent.
func down(f *Facts) *Tunnel {
	t := &f.Tunnels[1]
	t.State, t.Since, t.LastHandshake, t.Quiet = checks.Down, cut, cut.Add(-time.Minute), cut
	t.Sent, t.RTT, t.Refusing = 203*initiation, 0, true
	f.Checks[1].State, f.Checks[1].WaitsFor, f.Checks[1].Reason, f.Checks[1].Since = checks.UnknownState, "heron", checks.Blocked, cut
	return t
}

// allDown is a site that reaches nothing.
func allDown(f *Facts) {
	down(f)
	f.Tunnels[0] = func(t Tunnel) Tunnel {
		t.State, t.Since, t.Quiet, t.LastHandshake = checks.Down, cut, cut, cut
		return t
	}(f.Tunnels[0])
	f.Checks[0].State, f.Checks[0].WaitsFor, f.Checks[0].Reason = checks.UnknownState, "kestrel", checks.Blocked
	f.Checks[2].State, f.Checks[2].Reason, f.Checks[2].Since = checks.Down, checks.Timeout, cut
	f.Collector.Error, f.Collector.Kind = "collector.example.net cannot be reached: no answer in time", "unreachable"
}

func check(i int, reason checks.Reason) func(*Facts) {
	return func(f *Facts) {
		f.Checks[i].State, f.Checks[i].Reason, f.Checks[i].Since = checks.Down, reason, cut
	}
}

func unmet(kind, text, err string) func(*Facts) {
	return func(f *Facts) {
		t := &f.Tunnels[1]
		t.Unmet, t.Err = []Unmet{{kind, text}}, err
	}
}

func lacks(part, text string) func(*Facts) {
	return func(f *Facts) { f.Tunnels[1].Lacks = []Lack{{Part: part, Text: text}} }
}

// cases break one thing each; the code stands where the whole site is asked.
var cases = []struct {
	code Code
	step string // that fails
	of   string // the network that is asked; empty: the site
	act  func(f *Facts)
}{
	{NoCarrier, "cable", "", func(f *Facts) {
		allDown(f)
		f.WAN.Links[0].Carrier, f.WAN.Gateways = false, nil
	}},
	{NoCarrier, "cable", "", func(f *Facts) { allDown(f); f.WAN.Links[0].There, f.WAN.Links[0].Carrier = false, false }},
	{NoAddress, "address", "", func(f *Facts) { allDown(f); f.WAN.Links[0].Addresses, f.WAN.Gateways = nil, nil }},
	{NoRoute, "route", "", func(f *Facts) { allDown(f); f.WAN.Gateways = nil }},
	{RouterSilent, "router", "", func(f *Facts) { allDown(f); f.WAN.Gateways[0].Answers = No }},
	{LineDead, "line", "", allDown},
	{HostFault, "agent", "", func(f *Facts) { f.Host.Fault = "list routes: input/output error" }},
	{NoFilters, "agent", "", func(f *Facts) { f.Host.Fault, f.Host.NoFilters = "there is no nftables", true }},
	{NoFilters, "agent", "", func(f *Facts) { // no network was ever started
		for i := range f.Tunnels {
			t := &f.Tunnels[i]
			t.State, t.There, t.Up, t.Unmet, t.Err = checks.Down, false, false, []Unmet{{"filter", "ginnel_" + t.Network}}, "no nftables"
			f.Checks[i].State, f.Checks[i].WaitsFor = checks.UnknownState, t.Network
		}
		f.Host.Fault, f.Host.NoFilters = "the kernel has no nftables", true
	}},
	{NoRights, "agent", "", func(f *Facts) { f.Host.Fault, f.Host.NoRights = "CAP_NET_ADMIN is lacking", true }},
	{NotRunning, "agent", "", func(f *Facts) { f.NotRunning = true }},
	{ContestedObj, "rule", "heron", func(f *Facts) {
		f.Tunnels[1].Contested = []Contest{{Kind: "rule", Text: "5012: from 192.168.10.0/24 lookup 7102", Culprit: "fight.sh", Since: cut, Times: 9}}
	}},
	{ContestedObj, "route", "heron", func(f *Facts) { f.Tunnels[1].Contested = []Contest{{Kind: "route", Text: "203.0.113.0/24"}} }},
	{ContestedObj, "address", "heron", func(f *Facts) { f.Tunnels[1].Contested = []Contest{{Kind: "address", Text: "100.64.20.7/32"}} }},
	{ContestedObj, "filter", "heron", func(f *Facts) { f.Tunnels[1].Contested = []Contest{{Kind: "filter", Text: "ginnel_heron"}} }},
	{ContestedObj, "device", "heron", func(f *Facts) { f.Tunnels[1].Contested = []Contest{{Kind: "device", Text: "gn-heron-s"}} }},
	{ForeignDrop, "filter", "", func(f *Facts) {
		f.Host.Drops = Drop{By: "docker's chain FORWARD", Type: "iptables -I DOCKER-USER -i gn-+ -j ACCEPT"}
	}},
	{ForeignDrop, "filter", "heron", func(f *Facts) { f.Host.Drops = Drop{By: "docker's chain FORWARD"} }},
	{ConfigRefused, "config", "", func(f *Facts) { f.Config.Fault = "desired.toml:12:33: bits set beyond /24" }},
	{ConfigFailed, "config", "", func(f *Facts) { f.Config.Newest = "generation 15 did not stay: records was good and is dead" }},
	{Damaged, "config", "", func(f *Facts) { f.Config.Damaged = "trust.json: it is damaged" }},
	{TakenDown, "agent", "", func(f *Facts) {
		allDown(f)
		f.Down, f.Checks[2].State, f.Collector.Error, f.Collector.Kind = cut, checks.Up, "", ""
	}},
	{NoConfig, "config", "", func(f *Facts) { f.Config, f.Tunnels, f.Checks = Config{}, nil, nil }},
	{NoSuchCheck, "internet", "", func(f *Facts) {
		f.Checks[2].State, f.Checks[2].Reason, f.Checks[2].Detail = checks.UnknownState, checks.NotRun, "no such kind: banner"
	}},
	{Quarantined, "internet", "", func(f *Facts) {
		f.Checks[2].State, f.Checks[2].Reason, f.Checks[2].Detail = checks.UnknownState, checks.NotRun, "quarantined after 10 ends within 10m0s: exit status 3"
	}},
	{NoDevice, "device", "heron", func(f *Facts) { down(f); f.Tunnels[1].There, f.Tunnels[1].Up = false, false }},
	{DeviceOther, "device", "heron", func(f *Facts) { down(f).Up = false }},
	{DeviceOther, "device", "heron", func(f *Facts) { down(f).Key = false }},
	{DeviceOther, "device", "heron", unmet("mtu", "gn-heron-s MTU 1300 -> 1420", "")},
	{DeviceTaken, "device", "heron", func(f *Facts) { down(f).TakenBy = "link gn-heron-s is a dummy" }},
	{PortTaken, "device", "heron", unmet("port", "gn-heron-s UDP 42 -> 51820", "change port gn-heron-s UDP 42 -> 51820: the port is taken")},
	{NoOverlay, "address", "heron", unmet("address", "100.64.20.7/32 on gn-heron-s", "")},
	{NoLAN, "address", "heron", lacks("lan", "ingress link eth1 is not on this host")},
	{DeviceOther, "device", "heron", lacks("peer", "peer hub-south has the public key of this gateway")},
	{NoRule, "rule", "heron", unmet("rule", "5012: from 192.168.10.0/24 lookup 7102", "")},
	{NoRule, "rule", "heron", func(f *Facts) {
		f.Tunnels[1].Lookups[0].Table, f.Tunnels[1].Lookups[0].Device = 254, "eth0"
	}},
	{RuleForeign, "rule", "heron", func(f *Facts) {
		l := &f.Tunnels[1].Lookups[0]
		l.Table, l.Device, l.Rule = 99, "eth0", "100: from 192.168.10.0/24 lookup 99"
	}},
	{NoWay, "route", "heron", unmet("route", "203.0.113.0/24 dev gn-heron-s table 7102", "")},
	{NoWay, "route", "heron", func(f *Facts) {
		f.Tunnels[1].Lookups[0].Refused, f.Tunnels[1].Lookups[0].Device = true, ""
	}},
	{RouteForeign, "route", "heron", func(f *Facts) { f.Tunnels[1].Lookups[0].Device = "eth1" }},
	{FilterOther, "filter", "heron", unmet("filter", "ginnel_heron: UDP 42 on eth0 only", "")},
	{FilterOther, "filter", "heron", unmet("setting", "net.ipv4.conf.eth1.forwarding = 1", "")},
	{HubNoName, "name", "heron", func(f *Facts) {
		t := down(f)
		t.Names[0].Addresses, t.Names[0].Err, t.Endpoint = nil, "no such host", netip.AddrPort{}
	}},
	{ResolverSilent, "resolver", "", func(f *Facts) {
		allDown(f)
		f.Checks[2].State, f.Checks[2].Reason, f.Collector.Error, f.Collector.Kind = checks.Up, "", "", ""
		for i := range f.Tunnels {
			t := &f.Tunnels[i]
			t.Names[0].Addresses, t.Names[0].Err, t.Endpoint = nil, "i/o timeout", netip.AddrPort{}
		}
	}},
	{TargetNoName, "results", "heron", check(1, checks.NotResolved)},
	{ClockBehind, "clock", "", func(f *Facts) {
		down(f)
		f.Clock = Clock{Floor: noon.Add(48 * time.Hour)}
	}},
	{ClockOff, "clock", "", func(f *Facts) { f.Clock = Clock{Off: -time.Hour, Fine: time.Second} }},
	{HubNever, "handshake", "heron", func(f *Facts) { down(f).LastHandshake = time.Time{} }},
	{HubSilent, "handshake", "heron", func(f *Facts) { down(f) }},
	{HubSilent, "handshake", "heron", func(f *Facts) { down(f).LastHandshake = cut }}, // young, and dead all the same
	{ProbeSilent, "probe", "heron", func(f *Facts) {
		t := down(f)
		t.LastHandshake, t.Quiet = noon.Add(-30*time.Second), noon.Add(-2*time.Second)
	}},
	{ProbePoor, "probe", "heron", func(f *Facts) { f.Tunnels[1].State, f.Tunnels[1].Said = checks.DegradedState, "3 of 10 lost" }},
	{TargetSilent, "results", "heron", check(1, checks.Timeout)},
	{TargetSilent, "internet", "", check(2, checks.Timeout)},
	{TargetRefuses, "results", "heron", check(1, checks.Refused)},
	{TargetWrong, "results", "heron", check(1, checks.Certificate)},
	{TargetPoor, "results", "heron", check(1, checks.Slow)},
	{CollectorSilent, "collector", "", func(f *Facts) { f.Collector.Error, f.Collector.Kind = "no answer in time", "unreachable" }},
	{CollectorCovered, "collector", "", func(f *Facts) { f.Collector.Error, f.Collector.Kind = "a login page stands between", "page" }},
	{CollectorRefuses, "collector", "", func(f *Facts) { f.Collector.Error, f.Collector.Kind = "unknown gateway", "refused" }},
}

func TestEachCauseHasItsCodeAndStep(t *testing.T) {
	for _, c := range cases {
		t.Run(string(c.code)+" "+c.step+" "+c.of, func(t *testing.T) {
			f := avocet()
			c.act(&f)
			r, err := Explain(f, c.of)
			if err != nil {
				t.Fatal(err)
			}
			if r.Code != c.code || r.Owner != Meaning(c.code).Owner {
				t.Errorf("code %s of %s, want %s\n%s", r.Code, r.Owner, c.code, r.Text(time.UTC))
			}
			failed := failures(r)
			if len(failed) != 1 || failed[0] != c.step {
				t.Errorf("steps %q fail, want %s alone\n%s", failed, c.step, r.Text(time.UTC))
			}
		})
	}
}

func failures(r *Report) (names []string) {
	for _, s := range r.Steps {
		if s.Result == Failed {
			names = append(names, s.Name)
		}
	}
	return names
}

// One cause is one alarm: whatever else is not well waits for it.
func TestOneCauseIsOneAlarm(t *testing.T) {
	for _, c := range cases {
		f := avocet()
		c.act(&f)
		all := Judge(f)
		causes := map[string]bool{}
		note := func(found Finding) {
			if found.Code != "" {
				causes[string(found.Code)+" "+found.Object] = true
			}
		}
		note(all.Site)
		for _, found := range all.Tunnels {
			note(found)
		}
		for _, found := range all.Checks {
			note(found)
		}
		want := 1
		if c.code.Layer() == "COLL" || c.code == ConfigRefused || c.code == Damaged || c.code == ConfigFailed {
			want = 0 // the site has no alarm: nothing of it hangs on these
		}
		if len(causes) != want {
			t.Errorf("%s: %d alarms: %v, want %d", c.code, len(causes), causes, want)
		}
		for _, tunnel := range f.Tunnels {
			if found := all.Tunnels[TunnelName(tunnel.Network, tunnel.Hub)]; tunnel.State == checks.Down && !found.Broken() {
				t.Errorf("%s: %s is down and neither broken nor waiting", c.code, tunnel.Network)
			}
		}
	}
}

// A config that is held runs: nothing is broken, and why tells of it all the same.
func TestHeldConfig(t *testing.T) {
	f := avocet()
	f.Config.Newest, f.Config.Held = "generation 15 runs, unconfirmed: the collector cannot be reached", true
	r, err := Explain(f, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != ConfigHeld || r.State != checks.Up || len(failures(r)) > 0 || !strings.Contains(r.Text(time.UTC), "-     config     generation 15 runs, unconfirmed: ") {
		t.Errorf("%s, %s:\n%s", r.Code, r.State, r.Text(time.UTC))
	}
}

func TestAllIsWell(t *testing.T) {
	for _, network := range []string{"", "kestrel", "heron"} {
		r, err := Explain(avocet(), network)
		if err != nil {
			t.Fatal(err)
		}
		if failed := failures(r); len(failed) > 0 || r.Code != "" || r.State != checks.Up {
			t.Errorf("%q: %s %s, steps %q fail", network, r.State, r.Code, failed)
		}
		for _, s := range r.Steps {
			if s.Result != Good {
				t.Errorf("%q: step %s: %s", network, s.Name, s.Text)
			}
		}
	}
	if _, err := Explain(avocet(), "wren"); err == nil {
		t.Error("a network that is not there was explained")
	}
}

// A clock that the collector confirms is right, whatever was seen before.
func TestTheCollectorsClockCountsMoreThanAnOldFloor(t *testing.T) {
	f := avocet()
	f.Clock = Clock{Floor: noon.Add(48 * time.Hour), Off: time.Second, Fine: time.Second}
	if r, _ := Explain(f, ""); r.Code != "" {
		t.Errorf("code %s", r.Code)
	}
}

// Two dead hubs are no dead line: there must be another witness.
func TestHubsAloneDoNotBlameTheLine(t *testing.T) {
	f := avocet()
	allDown(&f)
	f.Checks, f.Collector = nil, Collector{}
	r, _ := Explain(f, "")
	if r.Code != HubSilent {
		t.Errorf("code %s\n%s", r.Code, r.Text(time.UTC))
	}
}

// A service is not blamed for what its tunnel, which has not been called down
// yet, may have done.
func TestAServiceBehindADoubtfulTunnelWaits(t *testing.T) {
	f := avocet()
	check(1, checks.Timeout)(&f)
	f.Tunnels[1].Heard = cut.Add(-time.Second)
	if found := Judge(f).Checks["results"]; found.Code != "" || found.WaitsFor != "heron" {
		t.Errorf("not heard of since: %+v", found)
	}
	f.Tunnels[1].Heard, f.Tunnels[1].Doubtful = time.Time{}, true
	if found := Judge(f).Checks["results"]; found.Code != "" || found.WaitsFor != "heron" {
		t.Errorf("failing just now: %+v", found)
	}
	f.Tunnels[1].Heard, f.Tunnels[1].Doubtful = cut.Add(time.Second), false
	if found := Judge(f).Checks["results"]; found.Code != TargetSilent {
		t.Errorf("heard of since: %+v", found)
	}
}

// A gateway's own checks say nothing of what is forwarded.
func TestWhereForwardingIsDroppedNothingIsCalledWell(t *testing.T) {
	f := avocet()
	f.Host.Drops = Drop{By: "docker's chain FORWARD"}
	for _, network := range []string{"", "heron"} {
		if r, err := Explain(f, network); err != nil || r.Code != ForeignDrop || strings.Contains(r.Means, "not affected") {
			t.Errorf("%v: %s means %q", err, r.Code, r.Means)
		}
	}
}

func TestAHubTellsOfItsSites(t *testing.T) {
	f := avocet()
	f.Tunnels = f.Tunnels[:1]
	tunnel := &f.Tunnels[0]
	tunnel.HubRole, tunnel.Hub, tunnel.Key, tunnel.Peers, tunnel.PeersUp = true, "", false, 14, 12
	r, _ := Explain(f, "kestrel")
	if r.Code != "" || r.Request != nil {
		t.Errorf("code %s\n%s", r.Code, r.Text(time.UTC))
	}
	tunnel.State, tunnel.Said = checks.Down, "no one is served"
	if r, _ = Explain(f, "kestrel"); r.Code != DeviceOther {
		t.Errorf("code %s\n%s", r.Code, r.Text(time.UTC))
	}
}

// What fails is not among what is said not to be affected.
func TestWhatFailsIsNotCalledWell(t *testing.T) {
	f := avocet()
	check(0, checks.Timeout)(&f)
	r, err := Explain(f, "")
	if err != nil || strings.Contains(r.Means, "records") || strings.Contains(r.Means, "kestrel") || !strings.HasSuffix(r.Means, "heron (results) and what is beside the tunnels are not affected") {
		t.Errorf("%v: all of kestrel fails: %q", err, r.Means)
	}
	for _, name := range []string{"names", "echo", "voice", "page"} {
		f.Checks = append(f.Checks, Check{Name: name, Network: "kestrel", State: checks.Up})
	}
	f.Checks[len(f.Checks)-1].State = checks.Down
	if r, err = Explain(f, ""); err != nil || !strings.Contains(r.Means, "kestrel (names, echo, voice), heron (results)") {
		t.Errorf("%v: some of kestrel fail: %q", err, r.Means)
	}
}
