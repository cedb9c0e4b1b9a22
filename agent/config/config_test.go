package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ginnel/ginnel/tunnels"
)

func load(t *testing.T, name string) *Config {
	t.Helper()
	c, err := Load(filepath.Join("testdata", "good", name+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

var plain = []cmp.Option{
	cmpopts.IgnoreUnexported(Config{}),
	cmpopts.IgnoreFields(Config{}, "Hash"),
	cmpopts.EquateEmpty(),
	cmpopts.EquateComparable(netip.Prefix{}, netip.AddrPort{}),
}

func TestParseSite(t *testing.T) {
	want := &Config{
		Gateway: "avocet-1",
		Trial:   90 * time.Second,
		Networks: []Network{{
			Name:     "kestrel",
			Role:     tunnels.Site,
			Address:  prefixes("100.64.0.7/32"),
			LAN:      prefixes("192.168.10.0/24"),
			Probe:    10 * time.Second,
			Table:    tunnels.TableNumber("kestrel"),
			Priority: tunnels.RulePriority("kestrel"),
			Hubs: []Hub{{
				Peer: Peer{
					Name:       "hub-north",
					PublicKey:  "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8=",
					AllowedIPs: prefixes("100.64.0.1/32", "198.51.100.0/24"),
					Keepalive:  25 * time.Second,
				},
				Endpoints: []string{"hub-north.example.net:51820"},
				Device:    tunnels.DeviceName("kestrel", "hub-north"),
			}},
		}},
		Checks: []Check{{
			Name: "records", Kind: "tcp", Network: "kestrel", Target: "198.51.100.20:443",
			Interval: 30 * time.Second, Timeout: 5 * time.Second, Down: 3, Up: 2, Unstable: 30,
		}},
	}
	got := load(t, "avocet-1")
	if d := cmp.Diff(want, got, plain...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got.Summary() != "1 network, 1 hub, 1 check" {
		t.Errorf("summary: %s", got.Summary())
	}
	if len(got.Hash) != 64 {
		t.Errorf("hash: %q", got.Hash)
	}
}

func TestParseHub(t *testing.T) {
	want := &Config{
		Gateway: "hub-north",
		Trial:   90 * time.Second,
		Networks: []Network{{
			Name:       "kestrel",
			Role:       tunnels.Hub,
			Address:    prefixes("100.64.0.1/32"),
			LAN:        prefixes("198.51.100.0/24"),
			ListenPort: 51820,
			Probe:      10 * time.Second,
			Table:      tunnels.TableNumber("kestrel"),
			Priority:   tunnels.RulePriority("kestrel"),
			Device:     tunnels.DeviceName("kestrel", ""),
			Sites: []Peer{{
				Name:       "avocet-1",
				PublicKey:  "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE=",
				AllowedIPs: prefixes("100.64.0.7/32", "192.168.10.0/24"),
			}},
			Allow: []tunnels.Allow{{From: "198.51.100.10/32", To: "sites", Ports: []string{"tcp/9100"}}},
		}},
	}
	got := load(t, "hub-north")
	if d := cmp.Diff(want, got, plain...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got.Summary() != "1 network, 1 site, 0 checks" {
		t.Errorf("summary: %s", got.Summary())
	}
}

// TestDefaults sets each key that has a default to something else.
func TestDefaults(t *testing.T) {
	c, err := Parse("desired.toml", []byte(`
gateway = "avocet-1"
generation = 14
signers = [
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM1r1Iume4RmrB553JxAXqzL9g36d3aYaB01efQBFY0j alice",
  "  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPz8Lm1e/9ffkuMHaSEn18/AUHo3iIm5N7swGHO0QEQT  bob",
]
collector = ["https://collector.example.net", "https://192.0.2.80:8443/"]
trial = "10m"
[[network]]
name = "kestrel"
address = ["100.64.0.7/32", "2001:db8:64::7/128"]
ingress = ["eth1"]
mtu = 1280
table = 7101
priority = 5012
may_cover = ["hscn"]
listen_port = 51999
[[network.hub]]
name = "hub-north"
public_key = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
endpoints = ["[2001:db8::1]:51820", "192.0.2.10:443"]
allowed_ips = ["2001:db8:65::/48"]
persistent_keepalive = "10s"
preshared_key_file = "/etc/ginnel/kestrel.psk"
device = "gn-north"
[[check]]
name = "records"
kind = "http"
interval = "2s"
degraded = "250ms"
down = 5
unstable = 40
up = 1
required = true
stands_for = "Patient records"
options = { status = 200, follow = false, ratio = 0.5, headers = { accept = ["*/*"] } }
`))
	if err != nil {
		t.Fatal(err)
	}
	n, k := c.Networks[0], c.Checks[0]
	h := n.Hubs[0]
	if c.Generation != 14 || n.MTU != 1280 || n.Table != 7101 || n.Priority != 5012 || n.ListenPort != 51999 ||
		n.Ingress[0] != "eth1" || n.MayCover[0] != "hscn" {
		t.Errorf("network: %+v", n)
	}
	if len(c.Signers) != 2 || c.Signers[1] != "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPz8Lm1e/9ffkuMHaSEn18/AUHo3iIm5N7swGHO0QEQT bob" ||
		len(c.Collector) != 2 || c.Collector[1] != "https://192.0.2.80:8443/" || c.Trial != 10*time.Minute {
		t.Errorf("of a push: %+v", c)
	}
	if h.Keepalive != 10*time.Second || h.PresharedKeyFile != "/etc/ginnel/kestrel.psk" || h.Device != "gn-north" || len(h.Endpoints) != 2 {
		t.Errorf("hub: %+v", h)
	}
	want := Check{Name: "records", Kind: "http", Interval: 2 * time.Second, Timeout: 1800 * time.Millisecond,
		Degraded: 250 * time.Millisecond, Down: 5, Up: 1, Unstable: 40, Required: true, StandsFor: "Patient records",
		Options: map[string]any{"status": int64(200), "follow": false, "ratio": 0.5,
			"headers": map[string]any{"accept": []any{"*/*"}}}}
	if d := cmp.Diff(want, k); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestTenMistakes counts: nothing hides behind the first mistake.
func TestTenMistakes(t *testing.T) {
	c, err := Load("testdata/bad/ten.toml")
	ps, ok := errors.AsType[Problems](err)
	if !ok || len(ps) != 10 || c != nil {
		t.Fatalf("want ten problems and no config, got %d: %v", len(ps), err)
	}
	for _, p := range ps {
		if p.File != "testdata/bad/ten.toml" || p.Line == 0 || p.Column == 0 || p.Path == "" || p.Message == "" {
			t.Errorf("incomplete: %+v", p)
		}
	}
}

func TestSecretsAreNotRepeated(t *testing.T) {
	const secret = "qO6gT1ZJvLdKp5cR8nWyXs3hBf0mUuEa7iVkYxNtD2A="
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	with := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), secret) && !strings.Contains(string(text), "hunter2") {
			continue
		}
		with++
		_, err = Parse(file, text)
		if strings.HasPrefix(filepath.Base(file), "host-") {
			_, err = ParseHost(file, text)
		}
		if s := err.Error(); strings.Contains(s, secret[:12]) || strings.Contains(s, "hunter2") {
			t.Errorf("%s: the message tells the secret:\n%s", file, s)
		}
	}
	if with < 6 {
		t.Errorf("only %d files with a secret in them", with)
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := Load("testdata/none.toml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	h, err := LoadHost("testdata/none.toml")
	if d := cmp.Diff(Host{}, h, plain...); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
}

func TestParseHostFile(t *testing.T) {
	got, err := ParseHost("ginnel.toml", []byte(`
backend = "userspace"
log_level = "debug"
proxy = "http://proxy.example.net:3128"
extra_ca = "/etc/ginnel/proxy-ca.pem"
uplinks = ["eth0"]
offload = false
dataplane_memory = "96M"
protected = ["203.0.113.0/24"]
`))
	want := Host{Backend: "userspace", LogLevel: "debug", Proxy: "http://proxy.example.net:3128",
		ExtraCA: "/etc/ginnel/proxy-ca.pem", Uplinks: []string{"eth0"}, Offload: new(false),
		DataplaneMemory: 96 << 20, Protected: prefixes("203.0.113.0/24")}
	if d := cmp.Diff(want, got, plain...); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

// uncommented is a reference with what is commented out at its default.
var uncommented = regexp.MustCompile(`(?m)^# ([a-z_]+ += |\[check\.options\]|\[\[network\.map\]\]|\[manners\]|\[\[off\]\])`)

// TestReference parses the references as they are and with every commented key
// switched on, and misses no key.
func TestReference(t *testing.T) {
	full := uncommented.ReplaceAllString(Reference, "$1")
	full = strings.Replace(full, "\nlisten_port = 51820\n", "\n", 1)
	for _, text := range []string{Reference, full} {
		if _, err := Parse("reference.toml", []byte(text)); err != nil {
			t.Error(err)
		}
	}
	for _, keys := range [][]string{rootKeys, networkKeys, hubKeys, siteKeys, allowKeys, mapKeys, checkKeys} {
		for _, k := range keys {
			if !regexp.MustCompile(`(?m)^(\S*\[\S*\b` + k + `\]+|` + k + ` *=)`).MatchString(full) {
				t.Errorf("reference.toml does not mention %s", k)
			}
		}
	}
	hostFull := uncommented.ReplaceAllString(HostReference, "$1")
	for _, text := range []string{HostReference, hostFull} {
		if _, err := ParseHost("reference-host.toml", []byte(text)); err != nil {
			t.Error(err)
		}
	}
	for _, k := range hostKeys {
		if !strings.Contains(hostFull, "\n"+k+" = ") {
			t.Errorf("reference-host.toml does not mention %s", k)
		}
	}
}

// TestMinimal is good but for the key that only the other end knows.
func TestMinimal(t *testing.T) {
	for role, want := range map[tunnels.Role]string{tunnels.Site: "site", tunnels.Hub: "hub"} {
		t.Run(want, func(t *testing.T) {
			text := Minimal(role, "avocet-1", "kestrel")
			_, err := Parse("desired.toml", []byte(text))
			ps, _ := errors.AsType[Problems](err)
			if len(ps) != 1 || !strings.HasSuffix(ps[0].Path, ".public_key") {
				t.Fatalf("got %v", err)
			}
			text = strings.Replace(text, `""`, `"OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="`, 1)
			c, err := Parse("desired.toml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if c.Networks[0].Role != role || c.Gateway != "avocet-1" || c.Networks[0].Name != "kestrel" {
				t.Errorf("got %+v", c)
			}
		})
	}
}

// TestFormat reads what Format wrote and finds the same.
func TestFormat(t *testing.T) {
	reference, err := Parse("reference.toml", []byte(uncommented.ReplaceAllString(Reference, "$1")))
	if err != nil {
		t.Fatal(err)
	}
	odd, err := Parse("odd.toml", []byte(`gateway = "avocet-1"
[[check]]
name = "odd"
kind = "http"
stands_for = "Caf\u00e9 \"x\" \\ \U0001F426"
[check.options]
"a key" = 1e6
whole = 2.0
big = inf
list = ["a", ["b"], {c = true}]
token = "abc"
deep = { password = "abc", user = "sam" }
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Config{load(t, "avocet-1"), load(t, "hub-two-sites"), load(t, "two-networks"), reference, odd} {
		text := c.Format()
		again, err := Parse("format.toml", []byte(text))
		if err != nil {
			t.Errorf("%v in:\n%s", err, text)
			continue
		}
		if again.Format() != text {
			t.Errorf("formatted twice is not once:\n%s", text)
		}
		if c != odd {
			again.Networks = unresolve(again.Networks, c.Networks)
			if d := cmp.Diff(c, again, plain...); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		}
	}
	if s := odd.Format(); strings.Contains(s, "abc") || !strings.Contains(s, `user = "sam"`) {
		t.Errorf("secrets told, or too much hidden:\n%s", s)
	}
	golden(t, "testdata/format.want", load(t, "two-networks").Format())
}

// unresolve takes back the one default that Format writes and Parse leaves at 0.
func unresolve(got, want []Network) []Network {
	for i := range got {
		if want[i].MTU == 0 && got[i].MTU == DefaultMTU {
			got[i].MTU = 0
		}
	}
	return got
}

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		files, _ := filepath.Glob("testdata/" + dir + "/*.toml")
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte(Reference))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("desired.toml", text)
		if err == nil {
			if _, err := Parse("desired.toml", []byte(c.Format())); err != nil {
				t.Errorf("what Format wrote is refused: %v", err)
			}
			return
		}
		ps, ok := errors.AsType[Problems](err)
		if !ok || len(ps) == 0 {
			t.Fatalf("not Problems: %v", err)
		}
		lines := strings.Split(string(text), "\n")
		for _, p := range ps {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 {
				t.Errorf("%d:%d is not in the text: %v", p.Line, p.Column, p)
			}
			if p.Message == "" {
				t.Errorf("empty message: %+v", p)
			}
		}
	})
}
