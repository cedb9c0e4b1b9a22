package tunnels

import (
	"net/netip"
	"testing"
	"time"
)

// Each line is a time at which the rule is found to be gone, and what comes of it.
func TestFights(t *testing.T) {
	s := Step{Network: "kestrel", Op: Add, Kind: RuleKind, Text: "5000: iif eth1 lookup 7101",
		Rule: &Rule{Family: 4, Priority: 5000, Iif: "eth1", Table: 7101}}
	other := Step{Op: Add, Kind: RouteKind, Route: &Route{Table: 7101, Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
	type row struct {
		at        time.Duration
		put       bool // it is put back
		contested bool // from then on
	}
	second, minute := time.Second, time.Minute
	for name, rows := range map[string][]row{
		"now and then": {{0, true, false}, {20 * second, true, false}, {40 * second, true, false}, {minute, true, false},
			{80 * second, true, false}, {100 * second, true, false}, {120 * second, true, false}, {140 * second, true, false},
			{160 * second, true, false}, {180 * second, true, false}},
		"the same moment": {{0, true, false}, {time.Millisecond, false, false}, {gap, true, false}},
		"often": {{0, true, false}, {1 * second, true, false}, {2 * second, true, false}, {3 * second, true, false},
			{4 * second, true, false}, {5 * second, true, false}, {6 * second, true, false}, {7 * second, true, true},
			{7900 * time.Millisecond, false, true}, {8 * second, true, true}, {9900 * time.Millisecond, false, true}, {10 * second, true, true},
			{14 * second, true, true}, {22 * second, true, true}, {38 * second, true, true}, {67 * second, false, true},
			{68 * second, true, true}, {98 * second, true, true}, {217 * second, true, true}, {337 * second, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			f, begin := fights{}, time.Now()
			f.put(other, begin)
			for _, r := range rows {
				now := begin.Add(r.at)
				f.ended(now)
				leave := f.differs(s.object(), now)
				if leave == r.put {
					t.Fatalf("after %v: put back %v, want %v", r.at, !leave, r.put)
				}
				if !leave {
					f.put(s, now)
				}
				list := f.contests("kestrel")
				if (len(list) > 0) != r.contested {
					t.Fatalf("after %v: contests %+v", r.at, list)
				}
				if len(list) > 0 && (!list[0].Since.Equal(begin) || list[0].Text != s.Text) {
					t.Fatalf("after %v: contest %+v", r.at, list[0])
				}
			}
			if len(f.contests("")) != 0 {
				t.Error("what was put back once is contested")
			}
		})
	}
}

// A filter is never left alone for long: networks are not apart without it.
func TestFilterIsFoughtForSooner(t *testing.T) {
	f, now := fights{}, time.Now()
	s := Step{Op: Add, Kind: FilterKind, Filter: &Filter{Table: "ginnel_kestrel"}}
	for range 20 {
		f.put(s, now)
		now = now.Add(longestOpen)
		if f.differs(s.object(), now) {
			t.Fatalf("left alone for longer than %v", longestOpen)
		}
	}
	if x := f[s.object()]; x.contested.IsZero() || !f.differs(s.object(), now.Add(-longestOpen/2)) {
		t.Error("it is put back at once, though it is contested")
	}
}

func TestObjectsAreToldApart(t *testing.T) {
	d := &Device{Name: "gn-a"}
	rule := func(table int) *Rule { return &Rule{Family: 4, Priority: 1, Table: table} }
	route := func(metric int) *Route {
		return &Route{Table: 1, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Metric: metric}
	}
	steps := []planned{
		{Step: Step{Kind: DeviceKind, Device: d}}, {Step: Step{Kind: MTUKind, Device: d}}, {Step: Step{Kind: DeviceKind, Device: &Device{Name: "gn-b"}}},
		{Step: Step{Kind: RuleKind, Rule: rule(1)}}, {Step: Step{Kind: RuleKind, Rule: rule(2)}},
		{Step: Step{Kind: RouteKind, Route: route(1)}}, {Step: Step{Kind: RouteKind, Route: route(2)}},
		{Step: Step{Kind: AddressKind, Device: d, Address: "a"}}, {Step: Step{Kind: AddressKind, Device: d, Address: "b"}},
		{Step: Step{Kind: PeerKind, Device: d, Peer: &Peer{PublicKey: [32]byte{1}}}}, {Step: Step{Kind: PeerKind, Device: d, Peer: &Peer{}}},
		{Step: Step{Kind: FilterKind, Filter: &Filter{Table: "a"}}}, {Step: Step{Kind: SettingKind, Setting: &Setting{Path: "a"}}},
	}
	if n := len(objects(steps)); n != len(steps) {
		t.Errorf("%d objects of %d", n, len(steps))
	}
}

// What needs a device that is left for now is left too.
func TestHeldWithItsDevice(t *testing.T) {
	forwarding := func(link string) *Setting { return &Setting{Path: "net/ipv4/conf/" + link + "/forwarding"} }
	steps := []planned{
		{Step: Step{Op: Add, Kind: DeviceKind, Device: &Device{Name: "gn-a"}}, held: true},
		{Step: Step{Op: Add, Kind: DeviceKind, Device: &Device{Name: "gn-b"}}},
		{Step: Step{Op: Add, Kind: SettingKind, Setting: forwarding("gn-a")}},
		{Step: Step{Op: Add, Kind: RouteKind, Route: &Route{Device: "gn-a"}}},
		{Step: Step{Op: Remove, Kind: RouteKind, Route: &Route{Device: "gn-a"}}},
		{Step: Step{Op: Add, Kind: SettingKind, Setting: forwarding("gn-b")}},
		{Step: Step{Op: Add, Kind: RouteKind, Route: &Route{Unreachable: true}}},
	}
	holdWithDevice(steps)
	for i, want := range []bool{true, false, true, true, false, false, false} {
		if steps[i].held != want {
			t.Errorf("step %d, %s %s: held is %v", i, steps[i].Op.Word(), steps[i].Kind, steps[i].held)
		}
	}
}
