package plan_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/plan"
)

// monday is when everything here happens.
var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

var alice, bob = bundletest.New("alice"), bundletest.New("bob")

// keyOf is the invented public key of a gateway in a network.
func keyOf(gateway, network string) string {
	sum := sha256.Sum256([]byte(gateway + " " + network))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func head(gateway string, generation uint64) string {
	return fmt.Sprintf("gateway = %q\ngeneration = %d\nsigners = [%q, %q]\n", gateway, generation, alice.Line(), bob.Line())
}

// site writes the config of a site in kestrel, its third octet by number; more
// goes behind it.
func site(gateway string, number int, more string) func(uint64) []byte {
	return func(g uint64) []byte {
		return fmt.Appendf(nil, `%s
[[network]]
name = "kestrel"
address = ["100.64.%d.%d/32"]
lan = ["192.168.%d.0/24"]

[[network.hub]]
name = "hub-north"
public_key = %q
endpoints = ["192.0.2.10:51820"]
allowed_ips = ["100.64.0.1/32", "198.51.100.0/24"]
%s`, head(gateway, g), 1+number/250, 1+number%250, number%250, keyOf("hub-north", "kestrel"), more)
	}
}

const records = `
[[check]]
name = "records-tls"
kind = "tcp"
network = "kestrel"
target = "198.51.100.20:443"
`

// hub writes the config of a hub with these sites.
func hub(name string, sites ...string) func(uint64) []byte {
	return func(g uint64) []byte {
		var b strings.Builder
		fmt.Fprintf(&b, "%s\n[[network]]\nname = \"kestrel\"\nrole = \"hub\"\naddress = [\"100.64.0.1/32\"]\nlan = [\"198.51.100.0/24\"]\n", head(name, g))
		for i, s := range sites {
			fmt.Fprintf(&b, "\n[[network.site]]\nname = %q\npublic_key = %q\nallowed_ips = [\"100.64.%d.%d/32\"]\n", s, keyOf(s, "kestrel"), 1+i/250, 1+i%250)
		}
		return []byte(b.String())
	}
}

// county is gateways with what runs on them.
type county struct {
	in      plan.Input
	bundles map[string][]byte
	asked   int // how often for bundles
}

func newCounty() *county {
	c := &county{bundles: map[string][]byte{}}
	c.in = plan.Input{Fleet: "fleet 3f2a91c", Now: monday, Signers: bundle.Signers{alice.Accepted(), bob.Accepted()},
		Rollout: plan.Rollout{Rings: []string{"hubs", "canary", "5%", "25%", "rest"}, Window: "Mon-Thu 19:00-23:00", Pause: centre.Pause{Gateways: 1, Share: 0.02, Within: 600}},
		Bundles: func(_ context.Context, hashes []string) (map[string][]byte, error) {
			c.asked++
			got := map[string][]byte{}
			for _, h := range hashes {
				if b, ok := c.bundles[h]; ok {
					got[h] = b
				}
			}
			return got, nil
		}}
	return c
}

// runs adds a gateway that runs one text, pushed as generation 14, and is to
// run another.
func (c *county) runs(t testing.TB, gateway, site string, ring int, old, want func(uint64) []byte) (*plan.Want, *centre.GatewayState) {
	t.Helper()
	s := centre.GatewayState{Name: gateway, Site: site, Enrolled: monday.AddDate(0, -1, 0), LastSeen: monday}
	if old != nil {
		b, err := bundle.Sign(old(14), bundle.Config, alice)
		if err != nil {
			t.Fatal(err)
		}
		c.bundles[b.Hash()] = b.Bytes()
		s.Running = centre.ConfigRef{Generation: 14, Hash: b.Hash()}
		s.Desired, s.Mark, s.State = s.Running, 14, block.ConfigApplied
	}
	w := plan.Want{Gateway: gateway, Site: site, Ring: ring, Networks: []string{"kestrel"}, Text: want, Hub: site == ""}
	c.in.Wants, c.in.States = append(c.in.Wants, w), append(c.in.States, s)
	return &c.in.Wants[len(c.in.Wants)-1], &c.in.States[len(c.in.States)-1]
}

func (c *county) plan(t testing.TB) *plan.Plan {
	t.Helper()
	p, err := plan.Make(t.Context(), c.in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// looks is the county of the target looks: 396 gateways at 390 sites, 12 of
// which change.
func looks(t testing.TB) *county {
	c := newCounty()
	var old, names []string
	for i := range 387 {
		names = append(names, fmt.Sprintf("site%03d-1", i))
	}
	names = append(names, "bittern-1", "curlew-1", "site000-2", "site001-2", "site002-2", "site003-2")
	for i, n := range names {
		id := n[:len(n)-2]
		was, want, ring := site(n, i, ""), site(n, i, ""), 4
		if i < 10 {
			want, ring = site(n, i, records), 2
		}
		if i == 0 {
			ring = 1
		}
		w, s := c.runs(t, n, id, ring, was, want)
		switch n {
		case "bittern-1":
			s.LastSeen, s.Silent = time.Date(2026, 11, 19, 2, 10, 0, 0, time.UTC), true
		case "curlew-1":
			w.Refused = []plan.Look{{Kind: plan.Refused, Gateway: n, Text: "curlew-1, attachments.csv:7 lan: 192.168.1.0/24 is also its WAN side (eth0, reported 06:12)",
				Hint: "fill `as`; 100.64.121.0/24 is free"}}
		}
		old = append(old, n)
	}
	c.runs(t, "hub-north", "", 0, hub("hub-north", old...), hub("hub-north", append(old, "fulmar-1")...))
	c.runs(t, "hub-south", "", 0, hub("hub-south", old...), hub("hub-south", old...))
	c.runs(t, "fulmar-1", "fulmar", 4, nil, site("fulmar-1", 44, ""))
	c.in.Looks = []plan.Look{{Kind: plan.NewKey, Gateway: "fulmar-1", Head: "fulmar-1 kestrel  DEER-19-LAMP-60",
		Text: "enrolled Fri 16:41; must equal the sheet that was signed on site"}}
	return c
}
