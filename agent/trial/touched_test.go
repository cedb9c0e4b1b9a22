package trial_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

const siteText = `gateway = "avocet-1"

[[network]]
name    = "kestrel"
address = ["100.64.0.7/32"]
lan     = ["192.168.10.0/24"]

[[network.hub]]
name        = "hub-north"
public_key  = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
endpoints   = ["192.0.2.10:51820"]
allowed_ips = ["100.64.0.1/32", "198.51.100.0/24"]

[[network.hub]]
name        = "hub-south"
public_key  = "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
endpoints   = ["hub-south.example.net:51820"]
allowed_ips = ["100.64.0.2/32"]

[[network]]
name    = "heron"
address = ["100.64.64.7/32"]
lan     = ["192.168.10.0/24"]

[[network.hub]]
name        = "hub-south"
public_key  = "icxx5OlnS+36sNr668dFYbKMuzElDJwjeiRt+S9VJEg="
endpoints   = ["192.0.2.20:51820"]
allowed_ips = ["100.64.64.1/32", "203.0.113.0/24"]
`

const hubText = `gateway = "hub-north"

[[network]]
name    = "kestrel"
role    = "hub"
address = ["100.64.0.1/32"]
lan     = ["198.51.100.0/24"]

[[network.site]]
name        = "avocet-1"
public_key  = "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
allowed_ips = ["100.64.0.7/32", "192.168.10.0/24"]

[[network.site]]
name        = "bittern-1"
public_key  = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
allowed_ips = ["100.64.0.8/32", "192.168.11.0/24"]
`

// spec reads a config; all networks have one private key.
func spec(t *testing.T, text string) tunnels.Spec {
	t.Helper()
	c, err := config.Parse("desired.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Spec(func(string) (key.Private, error) { return private, nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var private = key.NewPrivate()

func TestTouched(t *testing.T) {
	for _, c := range []struct{ name, text, old, new, want string }{
		{"nothing", siteText, "", "", ""},
		{"a check only", siteText, "[[network]]\nname    = \"heron\"", "[[check]]\nname = \"records\"\nkind = \"tcp\"\nnetwork = \"kestrel\"\ntarget = \"198.51.100.20:443\"\n\n[[network]]\nname    = \"heron\"", ""},
		{"a prefix of a hub", siteText, `"198.51.100.0/24"`, `"198.51.100.0/24", "192.0.2.128/25"`, "kestrel/hub-north kestrel/hub-south"}, // the filter is of the whole network
		{"a hub's key", siteText, "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8=", "ilrTTFK1bR+6wa9JvCuajS+cpNF02x8IqWyz6PjmYAY=", "kestrel/hub-north"},
		{"a hub's address", siteText, "192.0.2.20:51820", "192.0.2.21:51820", "heron/hub-south"},
		{"a hub's name, not known yet", siteText, "hub-south.example.net", "hub-east.example.net", "kestrel/hub-south"},
		{"the LAN of one network", siteText, "address = [\"100.64.64.7/32\"]\nlan     = [\"192.168.10.0/24\"]", "address = [\"100.64.64.7/32\"]\nlan     = [\"192.168.12.0/24\"]", "heron/hub-south"},
		{"our address in one network", siteText, "100.64.64.7/32", "100.64.64.8/32", "heron/hub-south"},
		{"a site's key, at the hub", hubText, "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8=", "ilrTTFK1bR+6wa9JvCuajS+cpNF02x8IqWyz6PjmYAY=", "kestrel/bittern-1"},
		{"a site's prefix, at the hub", hubText, `, "192.168.11.0/24"`, "", "kestrel/bittern-1"},
		{"the hub's port", hubText, "lan     = ", "listen_port = 51821\nlan     = ", "kestrel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			former, next := spec(t, c.text), spec(t, strings.Replace(c.text, c.old, c.new, 1))
			m := &tunnels.Manager{Host: new(tunnelstest.Host)}
			m.Set(former)
			steps, err := m.Change(t.Context(), next)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(slices.Sorted(maps.Keys(trial.Touched(steps, former, next))), " ")
			if got != c.want {
				t.Errorf("touched: %q, want %q; steps:\n%s", got, c.want, tunnels.FormatPlan(nil, steps))
			}
		})
	}
}

func TestTouchedByWhatNetworksShare(t *testing.T) {
	s := spec(t, siteText)
	steps := []tunnels.Step{{Kind: tunnels.SettingKind, Setting: &tunnels.Setting{Path: "net/ipv6/conf/all/forwarding"}}}
	if got := trial.Touched(steps, s, s); len(got) != 3 {
		t.Errorf("touched: %v, want all", got)
	}
	steps = []tunnels.Step{{Network: "kestrel", Kind: tunnels.RouteKind, Route: &tunnels.Route{Table: s.Networks[0].Table, Prefix: netip.MustParsePrefix("100.64.0.2/32"), Unreachable: true}}}
	if got := trial.Touched(steps, s, s); len(got) != 1 || !got["kestrel/hub-south"] {
		t.Errorf("touched: %v, want kestrel/hub-south", got)
	}
}
