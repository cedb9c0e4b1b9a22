package plan_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/plan"
)

func golden(t *testing.T, got, want string) {
	t.Helper()
	if d := cmp.Diff(strings.TrimPrefix(want, "\n"), got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestSummary is the screen that an operator sees of 390 sites.
func TestSummary(t *testing.T) {
	p := looks(t).plan(t)
	golden(t, p.Summary(false), `
fleet 3f2a91c, compared with what 396 gateways at 390 sites run now

  12 change    383 stay    1 refused

  CHANGE                                            GATEWAYS  RING
  + check records-tls on kestrel                          10  canary 1, 5% 9
  + kestrel, lan 192.168.44.0/24                           1  fulmar-1
  ~ peers: + fulmar-1                                      1  hub-north

Look at these
  new key    fulmar-1 kestrel  DEER-19-LAMP-60   enrolled Fri 16:41; must equal
             the sheet that was signed on site
  refused    curlew-1, attachments.csv:7 lan: 192.168.1.0/24 is also its WAN
             side (eth0, reported 06:12)
             hint: fill `+"`as`"+`; 100.64.121.0/24 is free
  not seen   bittern-1 since Thu 02:10; takes the newest when it comes back

No tunnel goes down.`)
}

// TestOrder says what waits for what.
func TestOrder(t *testing.T) {
	p := looks(t).plan(t)
	fulmar, _ := p.Change("fulmar-1")
	hub, _ := p.Change("hub-north")
	doubled, _ := p.Change("site000-1")
	if !slices.Equal(fulmar.Needs, []string{"hub-north"}) || !slices.Equal(hub.Apart, []string{"network kestrel"}) ||
		len(doubled.Needs) > 0 || !slices.Equal(doubled.Apart, []string{"site site000"}) {
		t.Errorf("fulmar needs %v, hub is apart by %v, site000-1 needs %v and is apart by %v", fulmar.Needs, hub.Apart, doubled.Needs, doubled.Apart)
	}
	if p.Changes[0].Gateway != "hub-north" {
		t.Errorf("%s is first", p.Changes[0].Gateway)
	}
}

// TestGenerations: a push is above all that was ever used, and its way back
// above that, with what ran before.
func TestGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		pushed, desired, mark uint64
		want                  uint64
	}{
		"all the same":                    {14, 14, 14, 15},
		"the collector forgot":            {20, 14, 14, 21},
		"a way back was taken":            {15, 16, 16, 17},
		"a stick was applied at the site": {14, 14, 30, 31},
	} {
		county := newCounty()
		w, s := county.runs(t, "avocet-1", "avocet", 1, site("avocet-1", 7, ""), site("avocet-1", 7, records))
		w.Pushed.Generation, s.Desired.Generation, s.Mark = c.pushed, c.desired, c.mark
		got, _ := county.plan(t).Change("avocet-1")
		if got.Sequence != c.want || !slices.Equal(got.Text, plan.Text(site("avocet-1", 7, records)(c.want))) ||
			string(got.Back) != string(site("avocet-1", 7, "")(c.want+1)) {
			t.Errorf("%s: generation %d, want %d, and back\n%s", name, got.Sequence, c.want, got.Back)
		}
	}
	county := newCounty()
	_, s := county.runs(t, "avocet-1", "avocet", 1, site("avocet-1", 7, ""), site("avocet-1", 7, records))
	s.Mark = math.MaxInt64
	county.runs(t, "bittern-1", "bittern", 1, site("bittern-1", 8, ""), site("bittern-1", 8, records))
	p := county.plan(t) // one gateway that lies does not keep the others from being pushed
	if got := p.Summary(false); p.Refused != 1 || len(p.Changes) != 1 || !strings.Contains(got, "refused    avocet-1: ") || !strings.Contains(got, "nobody signed") {
		t.Errorf("the last generation:\n%s", got)
	}
}

// A scoped operator asks for the keys of the networks that are theirs.
func TestWantedOfAScopedOperator(t *testing.T) {
	county := newCounty()
	w, _ := county.runs(t, "avocet-1", "avocet", 1, site("avocet-1", 7, ""), site("avocet-1", 7, ""))
	w.Waiting = []string{"heron", "osprey"}
	county.in.Mine = func(network string) bool { return network == "osprey" }
	if got := county.plan(t).Wanted["avocet-1"]; !slices.Equal(got, []string{"osprey"}) {
		t.Errorf("asked for %v", got)
	}
	county.in.Mine = func(network string) bool { return false }
	if p := county.plan(t); !p.Nothing() {
		t.Errorf("asked for %v", p.Wanted)
	}
}

// TestStays tells when a gateway needs a push.
func TestStays(t *testing.T) {
	a, b := site("avocet-1", 7, ""), site("avocet-1", 7, records)
	ref := func(text func(uint64) []byte, g uint64) centre.ConfigRef {
		return centre.ConfigRef{Generation: g, Hash: hashOf(text(g))}
	}
	for name, c := range map[string]struct {
		want             func(uint64) []byte
		running, desired centre.ConfigRef
		state            block.ConfigState
		stays            bool
	}{
		"it runs":                         {a, ref(a, 14), ref(a, 14), block.ConfigApplied, true},
		"something else is wanted":        {b, ref(a, 14), ref(a, 14), block.ConfigApplied, false},
		"on its way, and offline":         {b, ref(a, 14), ref(b, 15), block.ConfigApplied, true},
		"a bad one is on its way":         {a, ref(a, 14), ref(b, 15), block.ConfigApplied, false},
		"failed, and pushed again":        {b, ref(a, 14), ref(b, 15), block.ConfigFailed, false},
		"failed, and mended in the files": {a, ref(a, 14), ref(b, 15), block.ConfigFailed, true},
		"taken back by hand":              {b, ref(a, 14), ref(b, 15), block.ConfigOverridden, false},
		"never pushed, the same by luck":  {a, ref(a, 14), centre.ConfigRef{}, "", true},
		"never pushed":                    {b, ref(a, 14), centre.ConfigRef{}, "", false},
	} {
		county := newCounty()
		_, s := county.runs(t, "avocet-1", "avocet", 1, a, c.want)
		s.Running, s.Desired, s.State = c.running, c.desired, c.state
		if p := county.plan(t); (p.Stay == 1) != c.stays || len(p.Changes)+p.Stay != 1 {
			t.Errorf("%s: %d stay, %d change", name, p.Stay, len(p.Changes))
		}
	}
}

// TestTheCollectorIsNotBelieved: what it says that runs comes into a way back
// only with an operator's signature, and for that gateway.
func TestTheCollectorIsNotBelieved(t *testing.T) {
	evil := site("avocet-1", 7, "\n# with a peer of somebody's\n")
	for name, c := range map[string]struct {
		signs  string // who signs what the collector gives; empty: nobody
		text   func(uint64) []byte
		pushed bool // the hash is in generations.csv
		why    string
	}{
		"signed":                      {"alice", evil, false, ""},
		"signed by a former operator": {"carol", evil, true, ""},
		"signed by a stranger":        {"mallory", evil, false, "none of today's signers signed what it runs"},
		"not signed":                  {"", evil, false, "the collector gave something else than what it runs"},
		"of another gateway":          {"alice", site("bittern-1", 7, ""), false, "what it runs is for another gateway or generation"},
	} {
		county := newCounty()
		w, s := county.runs(t, "avocet-1", "avocet", 1, nil, site("avocet-1", 7, records))
		text := c.text(14)
		s.Running = centre.ConfigRef{Generation: 14, Hash: hashOf(text)}
		county.bundles[s.Running.Hash] = text
		if c.signs != "" {
			by := alice
			if c.signs != by.Name {
				by = bundletest.New(c.signs)
			}
			county.bundles[s.Running.Hash] = by.Bundle(string(text), bundle.Config).Bytes()
		}
		if c.pushed {
			w.Pushed = s.Running
		}
		got, _ := county.plan(t).Change("avocet-1")
		if got.BackWhy != c.why || (len(got.Back) > 0) != (c.why == "") {
			t.Errorf("%s: %q and %d bytes of a way back, want %q", name, got.BackWhy, len(got.Back), c.why)
		}
	}
}

// TestSubstitutedKey: a key that is not the verified one is found before
// anything is signed, at a hub and at a site.
func TestSubstitutedKey(t *testing.T) {
	p := looks(t).plan(t)
	if ps := p.Keys(keyOf); len(ps) > 0 {
		t.Fatalf("honest keys: %v", ps[0])
	}
	for _, who := range []string{"fulmar-1", "hub-north"} {
		ps := p.Keys(func(gateway, network string) string {
			if gateway == who {
				return keyOf("somebody else", network)
			}
			return keyOf(gateway, network)
		})
		if len(ps) == 0 || ps[0].Of != who {
			t.Errorf("%s: %v", who, ps)
		}
	}
	ps := p.Keys(func(string, string) string { return "" })
	if len(ps) == 0 || !strings.HasSuffix(ps[0].Error(), "and none of it is known") {
		t.Errorf("no keys: %v", ps)
	}
}

// none is a generations.csv with nothing in it.
func none(string) uint64 { return 0 }

// TestMoved: a plan is not pushed over what somebody else did since.
func TestMoved(t *testing.T) {
	c := looks(t)
	p := c.plan(t)
	at := slices.IndexFunc(c.in.States, func(s centre.GatewayState) bool { return s.Name == "hub-north" })
	for name, do := range map[string]func(*centre.GatewayState){
		"hub-north: generation 15 was pushed since":        func(s *centre.GatewayState) { s.Desired.Generation = 15 },
		"hub-north runs one by hand by now":                func(s *centre.GatewayState) { s.Running = centre.ConfigRef{Hash: "ab"} },
		"hub-north: generation 17 was used since":          func(s *centre.GatewayState) { s.Mark = 17 },
		"hub-north is not known to the collector any more": func(s *centre.GatewayState) { s.Name = "" },
	} {
		states := slices.Clone(c.in.States)
		do(&states[at])
		if moved := p.Moved(states, none); !slices.Equal(moved, []string{name}) {
			t.Errorf("%v, want %s", moved, name)
		}
	}
	if moved := p.Moved(c.in.States, func(string) uint64 { return 15 }); len(moved) != 12 {
		t.Errorf("the same numbers in generations.csv: %v", moved)
	}
}

// TestLooks: what is the matter with gateways, in words.
func TestLooks(t *testing.T) {
	for want, do := range map[string]func(*plan.Want, *centre.GatewayState){
		"waiting    avocet-1: the collector does not know it": func(_ *plan.Want, s *centre.GatewayState) { s.Name = "" },
		"waiting    avocet-1: its pack has not been used yet": func(_ *plan.Want, s *centre.GatewayState) { *s = centre.GatewayState{Name: "avocet-1"} },
		"waiting    avocet-1 waits for a key of heron":        func(w *plan.Want, _ *centre.GatewayState) { w.Waiting = []string{"heron"} },
		"two of it  avocet-1: a copied disk speaks as it, from 192.0.2.7 (08:50) and": func(_ *plan.Want, s *centre.GatewayState) {
			s.Clones = []centre.Copy{{From: "192.0.2.7", Seen: monday.Add(-600e9)}, {From: "192.0.2.8", Seen: monday}}
		},
		"failed     avocet-1 did not keep generation 14: hub-north was not heard": func(_ *plan.Want, s *centre.GatewayState) {
			s.State, s.Trial = block.ConfigFailed, &block.TrialSnapshot{Reason: "hub-north was not heard"}
		},
		"held       avocet-1 holds generation 14, unconfirmed":                func(_ *plan.Want, s *centre.GatewayState) { s.State = block.ConfigUnconfirmed },
		"by hand    avocet-1: a technician went back to generation 14 by":     func(_ *plan.Want, s *centre.GatewayState) { s.State = block.ConfigOverridden },
		"drift      avocet-1 runs generation 14, which is not what was":       func(_ *plan.Want, s *centre.GatewayState) { s.Running.Hash = strings.Repeat("0", 64) },
		"under way  avocet-1 tries generation 14 now":                         func(_ *plan.Want, s *centre.GatewayState) { s.State = block.ConfigApplying },
		"not seen   avocet-1 since it was enrolled; takes the newest when":    func(_ *plan.Want, s *centre.GatewayState) { s.LastSeen = time.Time{} },
		"no back    avocet-1 has no way back at the centre: what it runs was": func(w *plan.Want, s *centre.GatewayState) { s.Running.Hash, w.Text = "ab", site("avocet-1", 8, "") },
	} {
		c := newCounty()
		w, s := c.runs(t, "avocet-1", "avocet", 1, site("avocet-1", 7, ""), site("avocet-1", 7, ""))
		do(w, s)
		if got := c.plan(t).Summary(false); !strings.Contains(got, "\n  "+want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// TestOneScreen: a bad day fits on a screen too, and --all tells the rest.
func TestOneScreen(t *testing.T) {
	c := looks(t)
	for i := range c.in.Wants {
		w, s := &c.in.Wants[i], &c.in.States[i]
		s.Silent, s.State = true, block.ConfigUnconfirmed
		if w.Site != "" {
			w.Text = site(w.Gateway, i, fmt.Sprintf("\n[[check]]\nname = \"c%d\"\nkind = \"tcp\"\nnetwork = \"kestrel\"\ntarget = \"198.51.100.20:443\"\n", i))
		}
	}
	p := c.plan(t)
	short, long := p.Summary(false), p.Summary(true)
	if n := strings.Count(short, "\n"); n > 48 || strings.Count(long, "\n") < 700 {
		t.Errorf("%d lines, all %d:\n%s", n, strings.Count(long, "\n"), short)
	}
	for l := range strings.Lines(long) {
		if len([]rune(l)) > 81 {
			t.Errorf("wider than a terminal: %s", l)
		}
	}
}

// TestCuts: that a tunnel goes down is said with the gateway.
func TestCuts(t *testing.T) {
	c := newCounty()
	c.runs(t, "hub-north", "", 0, hub("hub-north", "avocet-1", "bittern-1"), hub("hub-north", "avocet-1"))
	p := c.plan(t)
	if got := p.Summary(false); !strings.HasSuffix(got, "1 tunnel goes down at 1 gateway: hub-north bittern-1 on gn-kestrel.") {
		t.Errorf("got\n%s", got)
	}
}

// TestDetail is `ginnelctl plan --gateway`.
func TestDetail(t *testing.T) {
	c := newCounty()
	more := strings.NewReplacer(`, "198.51.100.0/24"]`, `, "198.51.100.0/24", "192.0.2.128/25"]`, "192.0.2.10:51820", "192.0.2.11:51820")
	c.runs(t, "avocet-1", "avocet", 1, site("avocet-1", 7, ""), func(g uint64) []byte { return []byte(more.Replace(string(site("avocet-1", 7, records)(g)))) })
	change, _ := c.plan(t).Change("avocet-1")
	got, err := change.Detail(block.HostSnapshot{})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, got, `
avocet-1, generation 15 over generation 14

  ~ hub hub-north on kestrel: + 192.0.2.128/25
  ~ hub hub-north on kestrel: endpoints 192.0.2.11:51820
  + check records-tls on kestrel

kestrel  3 steps
  ~ filter  ginnel_kestrel: made anew, keeps gn-kestrel-nc5e apart
  ~ peer    hub-north allowed_ips + 192.0.2.128/25
  ~ peer    hub-north endpoint 192.0.2.10:51820 -> 192.0.2.11:51820

No tunnel goes down. No device, key or address changes.
Nothing was signed, nothing was sent.
`)
}
