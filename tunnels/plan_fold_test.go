package tunnels_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// writes is a plan with what is taken with each step, indented.
func writes(steps []tunnels.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%c %s %s\n", s.Op, s.Kind, s.Text)
		if all := s.Writes(); len(all) > 1 {
			for _, w := range all {
				fmt.Fprintf(&b, "    %c %s %s\n", w.Op, w.Kind, w.Text)
			}
		}
	}
	return b.String()
}

// Whatever changes with a site is one step at its hub, in an order in which the
// site's prefixes are refused before they lead anywhere, and after.
func TestSiteOfHubIsOneStep(t *testing.T) {
	short := func(k key.Public) string { return k.String()[:8] + "..." }
	one, other := worldKeys[3].Public(), worldKeys[4].Public()
	site := func(spec *tunnels.Spec, i int) *tunnels.PeerSpec { return &spec.Networks[0].Devices[0].Peers[i] }
	more := tunnels.PeerSpec{Name: "fulmar-1", PublicKey: other, AllowedIPs: makePrefixes("100.64.0.9/32", "192.168.30.0/24")}
	for _, c := range []struct {
		name   string
		change func(s *tunnels.Spec)
		steps  string
	}{
		{"added", func(s *tunnels.Spec) {
			s.Networks[0].Devices[0].Peers = append(s.Networks[0].Devices[0].Peers, more)
		},
			`+ peer fulmar-1 ` + short(other) + ` on gn-kestrel, 2 prefixes
    + route unreachable 100.64.0.9/32 table 7101
    + route unreachable 192.168.30.0/24 table 7101
    + peer fulmar-1 ` + short(other) + ` on gn-kestrel, 2 prefixes
    + route 100.64.0.9/32 dev gn-kestrel table 7101
    + route 192.168.30.0/24 dev gn-kestrel table 7101
`},
		{"removed", func(s *tunnels.Spec) { s.Networks[0].Devices[0].Peers = s.Networks[0].Devices[0].Peers[:1] },
			`- peer ` + short(one) + ` on gn-kestrel, 2 prefixes
    - route 100.64.0.8/32 dev gn-kestrel table 7101
    - route 192.168.20.0/24 dev gn-kestrel table 7101
    - peer ` + short(one) + ` on gn-kestrel, 2 prefixes
    - route unreachable 100.64.0.8/32 table 7101
    - route unreachable 192.168.20.0/24 table 7101
`},
		{"a prefix more", func(s *tunnels.Spec) {
			p := site(s, 1)
			p.AllowedIPs = append(p.AllowedIPs, makePrefixes("192.168.30.0/24")...)
		},
			`~ peer bittern-1 allowed_ips + 192.168.30.0/24
    + route unreachable 192.168.30.0/24 table 7101
    ~ peer bittern-1 allowed_ips + 192.168.30.0/24
    + route 192.168.30.0/24 dev gn-kestrel table 7101
`},
		{"a prefix less", func(s *tunnels.Spec) { site(s, 1).AllowedIPs = makePrefixes("100.64.0.8/32") },
			`~ peer bittern-1 allowed_ips - 192.168.20.0/24
    - route 192.168.20.0/24 dev gn-kestrel table 7101
    ~ peer bittern-1 allowed_ips - 192.168.20.0/24
    - route unreachable 192.168.20.0/24 table 7101
`},
		{"a prefix exchanged", func(s *tunnels.Spec) { site(s, 1).AllowedIPs = makePrefixes("100.64.0.8/32", "192.168.30.0/24") },
			`~ peer bittern-1 allowed_ips + 192.168.30.0/24 - 192.168.20.0/24
    - route 192.168.20.0/24 dev gn-kestrel table 7101
    + route unreachable 192.168.30.0/24 table 7101
    ~ peer bittern-1 allowed_ips + 192.168.30.0/24 - 192.168.20.0/24
    + route 192.168.30.0/24 dev gn-kestrel table 7101
    - route unreachable 192.168.20.0/24 table 7101
`},
		{"another key", func(s *tunnels.Spec) { site(s, 1).PublicKey = other },
			`~ peer bittern-1 key ` + short(one) + ` -> ` + short(other) + ` on gn-kestrel
    ~ peer bittern-1 key ` + short(one) + ` -> ` + short(other) + ` on gn-kestrel
    - peer bittern-1 on gn-kestrel
`},
		{"another key and prefix", func(s *tunnels.Spec) {
			site(s, 1).PublicKey, site(s, 1).AllowedIPs = other, makePrefixes("100.64.0.8/32", "192.168.30.0/24")
		},
			`~ peer bittern-1 key ` + short(one) + ` -> ` + short(other) + ` on gn-kestrel
    - route 192.168.20.0/24 dev gn-kestrel table 7101
    + route unreachable 192.168.30.0/24 table 7101
    ~ peer bittern-1 key ` + short(one) + ` -> ` + short(other) + ` on gn-kestrel
    - peer bittern-1 on gn-kestrel
    + route 192.168.30.0/24 dev gn-kestrel table 7101
    - route unreachable 192.168.20.0/24 table 7101
`},
		{"a prefix to another site", func(s *tunnels.Spec) {
			site(s, 0).AllowedIPs = makePrefixes("100.64.0.7/32", "192.168.10.0/24", "192.168.20.0/24")
			site(s, 1).AllowedIPs = makePrefixes("100.64.0.8/32")
		},
			"~ peer avocet-1 allowed_ips + 192.168.20.0/24\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, spec := &tunnelstest.Host{}, hub()
			want, _ := tunnels.Want(spec, facts(), resolve)
			reach(t, h, want)
			c.change(&spec)
			want, _ = tunnels.Want(spec, facts(), resolve)
			if got := writes(tunnels.Plan(want, h.State())); got != c.steps {
				t.Errorf("got\n%swant\n%s", got, c.steps)
			}
			checkMoments(t, h, want)
			reach(t, h, want)
		})
	}
}

// What a network refuses has to be there before its first rule, so there is no
// folding where rules are made.
func TestNoFoldingWhereRulesAreMade(t *testing.T) {
	h, spec := &tunnelstest.Host{}, hub()
	want, _ := tunnels.Want(spec, facts(), resolve)
	reach(t, h, want)
	h.Change(func(s *tunnels.State) { s.Rules, s.Routes, s.Devices[0].Peers = s.Rules[1:], nil, nil })
	steps := tunnels.Plan(want, h.State())
	if i := slices.IndexFunc(steps, func(s tunnels.Step) bool { return len(s.Before)+len(s.After) > 0 }); i >= 0 {
		t.Errorf("folded:\n%s", writes(steps[i:i+1]))
	}
}

// Where what is there has a name, as the Manager knows it, another site that takes
// over the prefixes is another site.
func TestNamedPeersAreNotTakenForEachOther(t *testing.T) {
	want, have := worldOne(), worldOne()
	p := &want.Devices[0].Peers[0]
	p.Name, p.PublicKey = "hub-other", worldKeys[4].Public()
	steps := tunnels.Plan(want, have)
	if len(steps) != 2 || steps[0].Op != tunnels.Add || steps[1].Op != tunnels.Remove {
		t.Errorf("got\n%s", lines(steps))
	}
}

func TestRekeyGoesDownUntilTheNextHandshake(t *testing.T) {
	want, have := worldOne(), worldOne()
	want.Devices[0].Peers[0].PublicKey = worldKeys[4].Public()
	text := tunnels.FormatPlan([]string{"kestrel"}, tunnels.Plan(want, have))
	for _, part := range []string{"kestrel  1 step\n", "Goes down: hub-north on gn-kestrel-n (until the next handshake).", "1 key."} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}
