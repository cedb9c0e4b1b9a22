package fleet

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
)

// random is a fleet of a few sites, whose LANs often collide.
func random(r *rand.Rand) map[string]string {
	some := func(words ...string) string { return words[r.IntN(len(words))] }
	toml := strings.Replace(readAll("testdata/county/fleet.toml"), `from  = "192.168.10.0/24"
to    = "192.168.20.9/32"`, fmt.Sprintf("from = %q\nto = %q", some("sites", "192.168.10.0/24", "198.51.100.7/32", "100.64.0.7/32"), some("sites", "192.168.20.9/32", "192.168.0.0/16")), 1)
	sites, attached, keys := "site,gateways,kind\n", "site,network,lan,as\n", "gateway,network,public_key\n"
	for _, h := range []string{"hub-north", "hub-south"} {
		for _, n := range []string{"kestrel", "heron"} {
			if r.IntN(8) > 0 {
				keys += fmt.Sprintf("%s,%s,%s\n", h, n, keyFor(h+n))
			}
		}
	}
	for i := range 2 + r.IntN(5) {
		id := fmt.Sprintf("site-%d", i)
		sites += fmt.Sprintf("%s,%d,%s\n", id, 1+r.IntN(2), some("gp", "acute"))
		for _, n := range []string{"kestrel", "heron"} {
			for range r.IntN(3) {
				as := ""
				if r.IntN(2) == 0 {
					as = fmt.Sprintf("100.64.%d.0/24", map[string]int{"kestrel": 32, "heron": 96}[n]+r.IntN(6))
				}
				attached += fmt.Sprintf("%s,%s,192.168.%d.0/24,%s\n", id, n, 10*r.IntN(5), as)
			}
			for g := range 2 {
				if r.IntN(4) > 0 {
					keys += fmt.Sprintf("%s-%d,%s,%s\n", id, g+1, n, keyFor(fmt.Sprint(id, g, n)))
				}
			}
		}
	}
	return map[string]string{tomlFile: toml, sitesFile: sites, attachmentsFile: attached, keysFile: keys, addressesFile: ""}
}

// What Load accepts compiles, and every gateway would accept its config; the
// same files make the same texts; what waits is left out at both ends.
func TestWhatIsAcceptedCompiles(t *testing.T) {
	accepted := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		files := random(r)
		dir := with(t, files)
		f, err := Load(dir)
		if err != nil {
			continue
		}
		accepted++
		all, err := f.CompileAll()
		if err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, err, files)
		}
		again, err := load(t, dir).CompileAll()
		if d := cmp.Diff(all, again, cmp.AllowUnexported(Desired{})); d != "" || err != nil {
			t.Fatalf("seed %d: the second time (%v):\n%s", seed, err, d)
		}
		ends := map[string]bool{} // network, who lists whom
		for _, d := range all {
			c, err := config.Parse(d.Gateway, d.Text(1))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, n := range c.Networks {
				for _, h := range n.Hubs {
					ends[n.Name+" "+d.Gateway+" "+h.Name] = true
				}
				for _, s := range n.Sites {
					ends[n.Name+" "+d.Gateway+" "+s.Name] = true
				}
			}
		}
		for e := range ends {
			w := strings.Fields(e)
			if !ends[w[0]+" "+w[2]+" "+w[1]] {
				t.Errorf("seed %d: %s lists %s in %s, and not the other way round", seed, w[1], w[2], w[0])
			}
		}
	}
	if accepted < 40 {
		t.Errorf("only %d of 400 fleets were accepted", accepted)
	}
}

// An address, once given and saved, stays, whatever comes, goes or is sorted
// otherwise; and nobody gets one that is in a row.
func TestAddressesStay(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		dir := with(t, map[string]string{keysFile: "", addressesFile: ""})
		given := map[end]netip.Prefix{} // all that were ever given
		for range 6 {
			ids := r.Perm(12)[:4+r.IntN(8)] // comes, goes, is sorted otherwise
			sites, attached := "site,gateways\n", "site,network,lan\n"
			for _, i := range ids {
				sites += fmt.Sprintf("site-%d,%d\n", i, 1+r.IntN(2))
				attached += fmt.Sprintf("site-%d,%s,\n", i, []string{"kestrel", "heron"}[(i+r.IntN(2))%2])
			}
			write(t, dir, sitesFile, "kind,"+strings.ReplaceAll(sites, "\nsite-", "\n,site-"))
			write(t, dir, attachmentsFile, attached)
			f := load(t, dir)
			for e, a := range f.address {
				if before, had := given[e]; had && before != a {
					t.Fatalf("seed %d: %v had %v, and has %v", seed, e, before, a)
				}
				for o, b := range given {
					if o != e && a == b {
						t.Fatalf("seed %d: %v has %v, which is that of %v", seed, e, a, o)
					}
				}
			}
			maps.Copy(given, f.address)
			if err := f.Save(); err != nil {
				t.Fatal(err)
			}
			if g := load(t, dir).Given(); len(g) > 0 {
				t.Fatalf("seed %d: given once more: %v", seed, g)
			}
		}
	}
}

func TestRings(t *testing.T) {
	f := &Fleet{Rollout: Rollout{Rings: []string{"canary", "5%", "25%", "rest"}}}
	count := make([]int, 5)
	for i := range 10_000 {
		count[f.ringOf(&Site{ID: fmt.Sprintf("site-%d", i)})]++
	}
	if count[0] != 0 || count[1] != 0 || count[2] < 430 || count[2] > 570 || count[3] < 2300 || count[3] > 2700 {
		t.Errorf("rings of ten thousand sites: %v", count)
	}
	for name, c := range map[string]struct {
		site Site
		want int
	}{
		"its own wins":         {Site{ID: "a", Kind: "acute", Ring: "canary"}, 1},
		"acute waits":          {Site{ID: "site-7", Kind: "Acute"}, 4},
		"ambulance waits":      {Site{ID: "site-7", Kind: "ambulance"}, 4},
		"by the care it pays":  {Site{ID: "site-7", CareLevel: 4}, 4},
		"stable on any system": {Site{ID: "bittern"}, 3},
	} {
		if got := f.ringOf(&c.site); got != c.want {
			t.Errorf("%s: ring %d, want %d", name, got, c.want)
		}
	}
	f.Rollout.Rings = []string{"10%", "rest"}
	for i := range 1000 {
		if f.ringOf(&Site{ID: fmt.Sprintf("site-%d", i), Kind: "acute"}) == 1 {
			t.Fatal("an acute site is in the first ring")
		}
	}
}

func TestCollisions(t *testing.T) {
	f := load(t, "testdata/county")
	at := time.Date(2026, 11, 20, 6, 12, 0, 0, time.UTC)
	link := func(name, prefix string, uplink bool) block.HostSnapshot {
		return block.HostSnapshot{Links: []block.LinkSnapshot{{Name: name, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}, Uplink: uplink}}}
	}
	for name, c := range map[string]struct {
		gateway string
		host    block.HostSnapshot
		want    string // empty: none
	}{
		"nothing":           {"avocet-1", link("eth1", "192.168.10.1/24", false), ""},
		"its LAN is WAN":    {"bittern-1", link("eth0", "192.168.20.7/24", true), "attachments.csv:4: lan: 192.168.20.0/24 is also its WAN side (eth0, reported 06:12)"},
		"behind the hub":    {"avocet-1", link("eth2", "198.51.100.130/25", false), "fleet.toml:40:26: hub.hub-north.lan.kestrel[0]: 198.51.100.0/24 is also its LAN side"},
		"the router":        {"avocet-1", block.HostSnapshot{Gateways: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}, "203.0.113.0/24 has the host's default router in it (203.0.113.1, reported 06:12)"},
		"another site's":    {"avocet-1", link("eth2", "192.168.20.1/24", false), "attachments.csv:4: lan: 192.168.20.0/24 is also its LAN side"},
		"a site's at a hub": {"hub-north", link("eth3", "192.168.40.0/23", false), "attachments.csv:7: lan: 192.168.40.0/24 is also its LAN side"},
		"not its network":   {"dunlin-1", link("eth2", "198.51.100.130/25", false), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.Collisions(c.gateway, c.host, at)
			if c.want == "" && len(got) > 0 || c.want != "" && !strings.Contains(strings.Join(strings.Fields(got.Error()), " "), c.want) {
				t.Errorf("%v\nwant %q", got, c.want)
			}
		})
	}
}

// Two networks whose names come to one table number on a gateway.
func TestTablesThatCollideAreWritten(t *testing.T) {
	f := load(t, "testdata/county")
	c := compiling{f: f, tables: map[int]bool{}, devices: map[string]bool{}}
	c.g, _ = f.Gateway("avocet-1")
	c.network(&f.Networks[0], "site", nil)
	c.device("kestrel", "hub-north")
	if text := c.out.String(); strings.Contains(text, "table") || strings.Contains(text, "device") {
		t.Errorf("written without need:\n%s", text)
	}
	c.out.Reset()
	c.network(&f.Networks[0], "site", nil)
	c.device("kestrel", "hub-north")
	if text := c.out.String(); !strings.Contains(text, "table = ") || !strings.Contains(text, "device = \"gn-kestrel-") {
		t.Errorf("not written:\n%s", text)
	}
}

func keyFor(of string) string {
	k := fmt.Sprintf("%-32.32s", of)
	raw := []byte(k)
	return base64.StdEncoding.EncodeToString(raw)
}

func readAll(name string) string {
	raw, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
