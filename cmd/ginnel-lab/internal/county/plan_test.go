package county

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
)

func TestWholeCountyIsAsTheDemoSays(t *testing.T) {
	p := Whole()
	if p.Tunnels() != 8 || p.Checks() != 19 || len(p.Sites) != 6 || len(p.Hubs) != 2 {
		t.Errorf("%d tunnels, %d checks, %d sites, %d hubs; want 8, 19, 6, 2",
			p.Tunnels(), p.Checks(), len(p.Sites), len(p.Hubs))
	}
	if joins := p.Sites[0].Joins; len(joins) != 2 {
		t.Errorf("avocet's LAN is in %d networks, want 2", len(joins))
	}
}

func TestASurgeryHasTwentyChecks(t *testing.T) {
	p := Surgery()
	names := map[string]bool{}
	for _, c := range p.Sites[0].Checks {
		names[c.Name] = true
		if c.Interval == "" || c.Kind == "dicom" {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
	if len(p.Sites) != 1 || p.Tunnels() != 2 || p.Checks() != 20 || len(names) != 20 {
		t.Errorf("%d sites, %d tunnels, %d checks, %d names; want 1, 2, 20, 20", len(p.Sites), p.Tunnels(), p.Checks(), len(names))
	}
}

func TestOnlyKeepsWhatASiteNeeds(t *testing.T) {
	p := Whole().Only("bittern")
	if len(p.Sites) != 1 || len(p.Hubs) != 1 || p.Hubs[0].Name != "hub-north" {
		t.Errorf("kept %d sites and hubs %+v", len(p.Sites), p.Hubs)
	}
	if len(Whole().Sites) != 6 {
		t.Error("the whole county has lost sites")
	}
}

func TestConfigsAreGood(t *testing.T) {
	for name, p := range map[string]Plan{"whole": Whole(), "apart": Apart(), "apart without IPv6": withoutIPv6(Apart()), "surgery": Surgery()} {
		t.Run(name, func(t *testing.T) { configsAreGood(t, p) })
	}
}

func withoutIPv6(p Plan) Plan {
	p.IPv6 = false
	return p
}

func configsAreGood(t *testing.T, p Plan) {
	keys := map[string]string{}
	name := func(i byte) string { return string('A'+i) + strings.Repeat("A", 42) + "=" }
	i := byte(0)
	for _, h := range p.Hubs {
		for _, n := range p.NetworksOf(h) {
			keys[keyOf(h.Name, n.Name)] = name(i)
			i++
		}
	}
	for _, s := range p.Sites {
		for _, j := range s.Joins {
			keys[keyOf(s.Gateway(), j.Network)] = name(i)
			i++
		}
	}
	for _, h := range p.Hubs {
		text, err := p.hubText(h, keys)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(h.Name+".toml", []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, s := range p.Sites {
		text, err := p.siteText(s, keys)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(s.Name+".toml", []byte(text))
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if len(c.Networks) != len(s.Joins) || len(c.Checks) != len(p.checksOf(s)) {
			t.Errorf("%s has %d networks and %d checks", s.Name, len(c.Networks), len(c.Checks))
		}
	}
}

func TestApartIsWhatTheLeakProofNeeds(t *testing.T) {
	p := Apart()
	if len(p.Networks) != 3 || p.network("kestrel").Services != p.network("plover").Services {
		t.Error("no two of three networks have the same prefix")
	}
	for _, j := range p.Sites[0].Joins {
		if len(j.Hubs) != 2 {
			t.Errorf("avocet is in %s by %d hubs", j.Network, len(j.Hubs))
		}
	}
	if a, b := p.Sites[0].Joins[0], p.Sites[0].Joins[2]; a.Ingress == b.Ingress {
		t.Errorf("%s and %s have the same prefix and the same ingress", a.Network, b.Network)
	}
	if len(p.NetworksOf(p.hub("hub-south"))) != 2 {
		t.Error("no hub serves two networks")
	}
}
