package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/tunnels/key"
)

const (
	avocetKey = "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
	oldKey    = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
)

// TestWithout shows what each sort of denial leaves of a hub's peers.
func TestWithout(t *testing.T) {
	c, err := Parse("hub.toml", []byte(`gateway = "hub-north"
[[network]]
name = "kestrel"
role = "hub"
address = ["100.64.0.1/32"]
[[network.site]]
name = "fulmar-1"
public_key = "`+oldKey+`"
allowed_ips = ["100.64.0.12/32", "192.168.44.0/24"]
[[network.site]]
name = "avocet-1"
public_key = "`+avocetKey+`"
allowed_ips = ["100.64.0.7/32"]
[[network]]
name = "heron"
role = "hub"
listen_port = 51821
address = ["100.64.64.1/32"]
[[network.site]]
name = "avocet-1"
public_key = "`+strings.Replace(avocetKey, "7g2", "8g2", 1)+`"
allowed_ips = ["100.64.64.7/32"]
`))
	if err != nil {
		t.Fatal(err)
	}
	site := load(t, "avocet-1")
	whole := c.Format()
	for name, test := range map[string]struct {
		denial  bundle.Denial
		sites   string // that are left, by network
		refused string
	}{
		"revoked by key":          {bundle.Denial{Kind: bundle.Revoke, Gateways: []string{"fulmar-1"}, Keys: []string{oldKey}}, "avocet-1 / avocet-1", "100.64.0.12/32 192.168.44.0/24 / "},
		"its successor":           {bundle.Denial{Kind: bundle.Revoke, Gateways: []string{"avocet-1"}, Keys: []string{strings.Replace(oldKey, "OY", "AA", 1)}}, "fulmar-1 avocet-1 / avocet-1", " / "},
		"revoked by name":         {bundle.Denial{Kind: bundle.Revoke, Gateways: []string{"fulmar-1"}}, "avocet-1 / avocet-1", "100.64.0.12/32 192.168.44.0/24 / "},
		"isolated site":           {bundle.Denial{Kind: bundle.Isolate, Gateways: []string{"avocet-1"}}, "fulmar-1 / ", "100.64.0.7/32 / 100.64.64.7/32"},
		"isolated network":        {bundle.Denial{Kind: bundle.Isolate, Networks: []string{"heron"}}, "fulmar-1 avocet-1 / ", " / 100.64.64.7/32"},
		"nobody that is known":    {bundle.Denial{Kind: bundle.Isolate, Gateways: []string{"gannet-1"}}, "fulmar-1 avocet-1 / avocet-1", " / "},
		"the hub's own, or a LAN": {bundle.Denial{Kind: bundle.Isolate, Gateways: []string{"hub-north"}}, "fulmar-1 avocet-1 / avocet-1", " / "},
	} {
		list := &bundle.DenyList{Number: 1, Denials: []bundle.Denial{test.denial}}
		less := c.Without(list)
		var sites, refused []string
		for _, n := range less.Networks {
			var names, gone []string
			for _, s := range n.Sites {
				names = append(names, s.Name)
			}
			for _, p := range n.Refused {
				gone = append(gone, p.String())
			}
			sites, refused = append(sites, strings.Join(names, " ")), append(refused, strings.Join(gone, " "))
		}
		if got := strings.Join(sites, " / "); got != test.sites {
			t.Errorf("%s: left are %s, want %s", name, got, test.sites)
		}
		if got := strings.Join(refused, " / "); got != test.refused {
			t.Errorf("%s: refused are %s, want %s", name, got, test.refused)
		}
		spec, err := less.Spec(func(string) (key.Private, error) { return key.NewPrivate(), nil })
		if err != nil || len(spec.Networks[0].Refused) != len(less.Networks[0].Refused) {
			t.Errorf("%s: spec: %v", name, err)
		}
		if d := cmp.Diff(site.Format(), site.Without(list).Format()); d != "" {
			t.Errorf("%s: at a site:\n%s", name, d)
		}
	}
	if c.Format() != whole {
		t.Error("the config itself was changed")
	}
	if c.Without(nil) != c {
		t.Error("without a list it is another")
	}
}
