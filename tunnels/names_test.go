package tunnels

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestNamesStay(t *testing.T) {
	// These are on the disks and in the kernels of running gateways: a
	// change here moves live tunnels.
	for _, c := range []struct{ got, want any }{
		{TableNumber("kestrel"), 21688},
		{TableNumber("heron"), 13255},
		{RulePriority("kestrel"), 6024},
		{RulePriority("heron"), 7752},
		{DeviceName("kestrel", ""), "gn-kestrel"},
		{DeviceName("kestrel", "hub-north"), "gn-kestrel-nc5e"},
		{DeviceName("kestrel", "hub-south"), "gn-kestrel-spiz"},
		{DeviceName("heron", "hub-south"), "gn-heron-sa5o"},
		{FilterTable("kestrel-gp"), "ginnel_kestrel_gp"},
	} {
		if c.got != c.want {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
}

func TestDeviceNames(t *testing.T) {
	good := regexp.MustCompile(`^gn-[a-z0-9-]{1,12}$`)
	seen := map[string]string{}
	for _, network := range []string{"a", "ab", "a-b", "kestrel", "kestrel-gp", "kestrel-gp-north", "kestrel-gp-south",
		"twelve-bytes", "twelvebytes1", "Heron", "h_r_n", "é", strings.Repeat("x", 63)} {
		for _, hub := range []string{"", "a", "b", "a-b", "hub-north", "hub-north-2", "hub-n", "hub-", "é", strings.Repeat("y", 63)} {
			name := DeviceName(network, hub)
			if len(name) > maxDevice || !good.MatchString(name) {
				t.Errorf("%s to %s: %q is no link name", network, hub, name)
			}
			pair := network + " to " + hub
			if former, ok := seen[name]; ok {
				t.Errorf("%s and %s are both %s", former, pair, name)
			}
			seen[name] = pair
		}
	}
}

func TestRanges(t *testing.T) {
	for i := range 5000 {
		name := fmt.Sprint("network", i)
		if n := TableNumber(name); n < 7100 || n > 27099 {
			t.Fatalf("table %d", n)
		}
		if p := RulePriority(name); p < 5000 || p+PrioritySpan > 27400 || (p-5000)%PrioritySpan != 0 {
			t.Fatalf("priority %d", p)
		}
	}
}

func TestCollisions(t *testing.T) {
	n := func(name string, table int, device string, port int) Network {
		return Network{Name: name, Table: table, Devices: []Tunnel{{Device: device, ListenPort: port}}}
	}
	if got := Collisions([]Network{n("kestrel", 7101, "gn-k", 0), n("heron", 7102, "gn-h", 0)}); got != nil {
		t.Errorf("two that differ: %v", got)
	}
	got := Collisions([]Network{n("k-a", 7101, "gn-k", 51820), n("k_a", 7101, "gn-k", 51820), n("k-a", 7103, "gn-x", 1)})
	var texts []string
	for _, p := range got {
		texts = append(texts, p.Network+": "+p.Text)
	}
	want := `k_a: routing table 7101 is taken by network k-a
k_a: filter table ginnel_k_a is taken by network k-a
k_a: device gn-k is taken by network k-a
k_a: UDP port 51820 is taken by network k-a
k-a: name k-a is taken by network k-a
k-a: filter table ginnel_k_a is taken by network k-a`
	if s := strings.Join(texts, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}
