package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

func TestSpecSite(t *testing.T) {
	own := key.NewPrivate()
	spec, err := load(t, "two-networks").Spec(func(string) (key.Private, error) { return own, nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Networks) != 2 {
		t.Fatalf("got %d networks", len(spec.Networks))
	}
	n := spec.Networks[0]
	d := n.Devices[0]
	p := d.Peers[0]
	if n.Name != "kestrel" || n.Role != tunnels.Site || n.EchoPort != 0 || len(n.Devices) != 1 || n.Table != tunnels.TableNumber("kestrel") {
		t.Errorf("network: %+v", n)
	}
	if d.Device != tunnels.DeviceName("kestrel", "hub-north") || d.Hub != "hub-north" || d.MTU != 1420 || !d.PrivateKey.Equal(own) {
		t.Errorf("device: %+v", d)
	}
	if p.Name != "hub-north" || p.PublicKey.String() != "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8=" ||
		p.Endpoints[0] != "hub-north.example.net:51820" || len(p.AllowedIPs) != 2 || !p.PresharedKey.IsZero() {
		t.Errorf("peer: %+v", p)
	}
	if problems := tunnels.Collisions(spec.Networks); len(problems) > 0 {
		t.Errorf("tunnels refuses what we let pass: %v", problems)
	}
}

func TestSpecHub(t *testing.T) {
	own := key.NewPrivate()
	spec, err := load(t, "hub-two-sites").Spec(func(string) (key.Private, error) { return own, nil })
	if err != nil {
		t.Fatal(err)
	}
	n := spec.Networks[0]
	if len(n.Devices) != 1 || n.Devices[0].Hub != "" || n.Devices[0].ListenPort != 51820 || len(n.Devices[0].Peers) != 2 {
		t.Errorf("devices: %+v", n.Devices)
	}
	if len(n.Allow) != 1 || len(n.Devices[0].Peers[1].Endpoints) != 0 || n.EchoPort != 8620 {
		t.Errorf("network: %+v", n)
	}
}

func TestSpecPreshared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kestrel.psk")
	text, err := os.ReadFile("testdata/good/avocet-1.toml")
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "endpoints ", "preshared_key_file = \""+file+"\"\nendpoints ", 1)
	c, err := Parse("desired.toml", []byte(with))
	if err != nil {
		t.Fatal(err)
	}
	keys := func(string) (key.Private, error) { return key.NewPrivate(), nil }
	if _, err := c.Spec(keys); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a missing file: %v", err)
	}
	const psk = "qO6gT1ZJvLdKp5cR8nWyXs3hBf0mUuEa7iVkYxNtD2A="
	if err := os.WriteFile(file, []byte(psk+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec, err := c.Spec(keys)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := key.ParsePreshared(psk)
	if !spec.Networks[0].Devices[0].Peers[0].PresharedKey.Equal(want) {
		t.Error("the preshared key is not that of the file")
	}
	if strings.Contains(c.Format(), psk) {
		t.Error("Format tells the preshared key")
	}
}

func TestSpecNoKey(t *testing.T) {
	boom := errors.New("no key")
	_, err := load(t, "avocet-1").Spec(func(string) (key.Private, error) { return key.Private{}, boom })
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "kestrel") {
		t.Errorf("got %v", err)
	}
}

func TestCheckSpecs(t *testing.T) {
	c, err := Parse("reference.toml", []byte(Reference))
	if err != nil {
		t.Fatal(err)
	}
	got := c.CheckSpecs()[0]
	want := checks.Spec{
		Name: "records", Kind: "tcp", StandsFor: "Patient records",
		Target: checks.Target{Check: "records", Address: "198.51.100.20:443", Network: "kestrel",
			Source:  []netip.Addr{netip.MustParseAddr("100.64.0.7"), netip.MustParseAddr("2001:db8:64::7")},
			Timeout: DefaultTimeout},
		Interval: DefaultInterval, Down: 3, Up: 2, Unstable: 30,
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestPairedCheck(t *testing.T) {
	for value, want := range map[string]string{"same": "198.51.100.20:443", "203.0.113.9:443": "203.0.113.9:443"} {
		c, err := Parse("reference.toml", []byte(strings.Replace(Reference, `# beside = "same"`, `beside = "`+value+`"`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.CheckSpecs()[0].Beside; got != want || !strings.Contains(c.Format(), `beside = "`+want+`"`) {
			t.Errorf("%s: %q\n%s", value, got, c.Format())
		}
	}
}

// TestCheckSource binds the first address of each family only.
func TestCheckSource(t *testing.T) {
	c := load(t, "avocet-1")
	c.Networks[0].Address = prefixes("100.64.0.7/32", "100.64.0.8/32", "2001:db8:64::7/128", "2001:db8:64::8/128")
	got := fmt.Sprint(c.CheckSpecs()[0].Target.Source)
	if got != "[100.64.0.7 2001:db8:64::7]" {
		t.Errorf("got %s", got)
	}
}

func TestCheckKinds(t *testing.T) {
	c, err := Parse("desired.toml", []byte(`gateway = "avocet-1"
[[check]]
name = "records"
kind = "tcp"
target = "198.51.100.20"
[[check]]
name = "pages"
kind = "http"
target = "http://198.51.100.20/"
[check.options]
metod = "GET"
status = 2000
[[check]]
name = "scan"
kind = "dicom"
target = "198.51.100.20:104"
[[check]]
name = "often"
kind = "path"
interval = "30s"
target = "198.51.100.20:443"
[[check]]
name = "typo"
kind = "tpc"
target = "198.51.100.20:443"
`))
	if err != nil {
		t.Fatal(err)
	}
	ps := c.CheckKinds(func(s checks.Spec) error {
		switch s.Kind {
		case "tcp":
			return errors.New("\"198.51.100.20\" has no port")
		case "http":
			return errors.Join(
				&checks.OptionError{Option: "metod", Err: errors.New("unknown option"), Hint: "method"},
				&checks.OptionError{Option: "status", Err: errors.New("2000 is more than 599")})
		case "path":
			return &checks.IntervalError{Interval: s.Interval, Kind: s.Kind, Least: 2 * time.Minute}
		case "tpc":
			r, err := checks.NewRegistry(checks.Kind{Name: "tcp", New: func(checks.Target) (checks.Check, error) { return nil, nil }})
			return errors.Join(err, r.Validate(s))
		default:
			return fmt.Errorf("kind %q: %w", s.Kind, checks.ErrNoKind)
		}
	})
	const want = `desired.toml:5:10: check[0].target: "198.51.100.20" has no port
desired.toml:11:9: check[1].options.metod: unknown option
    hint: method
desired.toml:12:10: check[1].options.status: 2000 is more than 599
desired.toml:15:8: check[2].kind: kind "dicom": no such kind here
desired.toml:20:12: check[3].interval: an interval of 30s is too short for a
    path check, which may run once in 2m0s
desired.toml:24:8: check[4].kind: kind "tpc": no such kind here
    hint: tcp`
	if d := cmp.Diff(want, ps.Error()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	gone, rest := ps.Split(checks.ErrNoKind)
	if len(gone) != 2 || len(rest) != 4 {
		t.Errorf("split into %d and %d", len(gone), len(rest))
	}
}

func facts() HostFacts {
	addr := netip.MustParseAddr
	return HostFacts{
		Links: []tunnels.Link{
			{Name: "lo", Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
			{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.77/24")}},
			{Name: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.10.1/24"), netip.MustParsePrefix("fe80::1/64")}},
		},
		Gateways:  []netip.Addr{addr("203.0.113.1")},
		Endpoints: map[string][]netip.Addr{"hub-north.example.net:51820": {addr("198.18.0.10")}},
		Collector: []netip.Addr{addr("198.18.1.5")},
		Protected: prefixes("10.207.112.0/22"),
	}
}

func TestHostCollisions(t *testing.T) {
	base, err := os.ReadFile("testdata/good/avocet-1.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ prefix, may, want string }{
		{"198.51.100.0/24", "", ""},
		{"192.0.0.0/16", "", "192.0.0.0/16\n    covers 192.0.2.0/24, the LAN on eth0 (192.0.2.77)"},
		{"192.0.2.128/25", "", "192.0.2.128/25\n    is a part of 192.0.2.0/24, the LAN on eth0 (192.0.2.77)"},
		{"192.0.0.0/16", "eth0", ""},
		{"203.0.113.0/24", "", "203.0.113.0/24\n    covers 203.0.113.1, the default gateway"},
		{"203.0.113.0/24", "gateway", ""},
		{"198.18.0.0/24", "", "198.18.0.0/24\n    covers 198.18.0.10, where hub-north.example.net:51820 answers"},
		{"198.18.0.0/24", "hub-north.example.net", ""},
		{"198.18.1.0/24", "", "198.18.1.0/24\n    covers 198.18.1.5, the collector"},
		{"198.18.1.0/24", "collector", ""},
		{"155.231.0.0/16", "", "155.231.0.0/16\n    covers 155.231.231.1, a DNS server of HSCN; 155.231.231.2, a DNS server of HSCN; 155.231.231.3, a time server of HSCN; 155.231.231.4, a time server of HSCN"},
		{"155.231.231.4/32", "", "155.231.231.4/32\n    covers 155.231.231.4, a time server of HSCN"},
		{"155.231.0.0/16", "hscn", ""},
		{"10.0.0.0/8", "", "10.0.0.0/8\n    covers 10.207.112.0/22, a protected prefix"},
		{"10.0.0.0/8", "10.207.112.0/22", ""},
	} {
		t.Run(c.prefix+" "+c.may, func(t *testing.T) {
			text := strings.Replace(string(base), "198.51.100.0/24", c.prefix, 1)
			if c.may != "" {
				text = strings.Replace(text, "lan     =", "may_cover = [\""+c.may+"\"]\nlan =", 1)
			}
			k, err := Parse("desired.toml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got, want := HostCollisions(k, facts()).Error(), ""
			if c.want != "" {
				want = "desired.toml:12:33: network[0].hub[0].allowed_ips[1]: " + c.want +
					"\n    hint: list only what is behind hub-north"
			}
			if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if c.want != "" && !strings.HasPrefix(k.Refusal(HostCollisions(k, facts())), "refused: 1 of 2 prefixes would") {
				t.Error(k.Refusal(HostCollisions(k, facts())))
			}
		})
	}
}

// TestHostCollisionsHub looks at what a hub accepts from its sites.
func TestHostCollisionsHub(t *testing.T) {
	host := HostFacts{Links: []tunnels.Link{{Name: "eth0", Addresses: prefixes("192.168.0.2/16")}}}
	ps := HostCollisions(load(t, "hub-two-sites"), host)
	const want = `desired.toml:13:33: network[0].site[0].allowed_ips[1]: 192.168.10.0/24 is a
    part of 192.168.0.0/16, the LAN on eth0 (192.168.0.2)
    hint: list only what is behind avocet-1
desired.toml:18:33: network[0].site[1].allowed_ips[1]: 192.168.20.0/24 is a
    part of 192.168.0.0/16, the LAN on eth0 (192.168.0.2)
    hint: list only what is behind bittern-1`
	got := strings.ReplaceAll(ps.Error(), "testdata/good/hub-two-sites.toml", "desired.toml")
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got:\n%s", got)
	}
}

// A prefix tells all that it covers, and a network all that somebody else has.
func TestAllCollisionsAtOnce(t *testing.T) {
	text, err := os.ReadFile("testdata/good/avocet-1.toml")
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "198.51.100.0/24", "192.0.0.0/16", 1)
	c, err := Parse("desired.toml", []byte(strings.Replace(with, "lan     =", "table = 7001\nlisten_port = 51820\nlan     =", 1)))
	if err != nil {
		t.Fatal(err)
	}
	host := facts()
	host.Gateways = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	host.Links[2].Addresses = prefixes("192.0.4.1/24")
	ps := append(HostCollisions(c, host), c.Taken([]tunnels.Taken{
		{Network: "kestrel", Kind: tunnels.TakenTable, By: "route 203.0.113.0/24 dev wan", Hint: "write a free number: table = 7002"},
		{Network: "kestrel", Kind: tunnels.TakenPriority, By: "rule 5001: lookup 12", Hint: "write a free one: priority = 5064"},
		{Network: "kestrel", Kind: tunnels.TakenDevice, Device: c.Networks[0].Hubs[0].Device, By: "link gn-x is a bridge"},
		{Network: "kestrel", Kind: tunnels.TakenPort, By: "iperf3 (pid 312) has UDP port 51820"},
	})...)
	ps.sort()
	const want = `desired.toml:3:1: network[0].priority: 6024 to 6055 are taken: rule 5001: lookup 12
    hint: write a free one: priority = 5064
desired.toml:6:9: network[0].table: 7001 is taken: route 203.0.113.0/24 dev wan
    hint: write a free number: table = 7002
desired.toml:7:15: network[0].listen_port: 51820 is taken: iperf3 (pid 312) has UDP port 51820
desired.toml:10:1: network[0].hub[0].device: gn-kestrel-nc5e is taken: link gn-x is a bridge
desired.toml:14:33: network[0].hub[0].allowed_ips[1]: 192.0.0.0/16
    covers 192.0.2.0/24, the LAN on eth0 (192.0.2.77); 192.0.4.0/24, the LAN on eth1 (192.0.4.1); 192.0.2.1, the default gateway
    hint: list only what is behind hub-north`
	if got := ps.Error(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got:\n%s", got)
	}
	const refusal = "refused: 1 of 2 prefixes would take this host's own network away; 4 things on this host that the config needs are somebody else's"
	if got := strings.Join(strings.Fields(c.Refusal(ps)), " "); got != refusal {
		t.Errorf("got %s", got)
	}
	taken, _ := ps.Split(ErrTaken)
	if got := c.Refusal(taken[:1]); strings.Join(strings.Fields(got), " ") != "refused: 1 thing on this host that the config needs is somebody else's" {
		t.Errorf("got %s", got)
	}
}
