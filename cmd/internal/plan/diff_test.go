package plan_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/cmd/internal/plan"
	"github.com/ginnel/ginnel/tunnels"
)

// full is a config with everything in it.
func full() *config.Config {
	return &config.Config{
		Signers: []string{"ssh-ed25519 AAAA alice"}, Collector: []string{"https://collector.example.net"}, Trial: time.Minute,
		Networks: []config.Network{{Name: "kestrel", Role: tunnels.Site, Address: prefixes("100.64.0.7/32"), LAN: prefixes("192.168.10.0/24"),
			Ingress: []string{"eth1"}, ListenPort: 51820, MTU: 1400, Probe: time.Second, Table: 7101, Priority: 5000, Device: "gn-k",
			Map:      []tunnels.Map{{LAN: prefixes("192.168.10.0/24")[0], As: prefixes("100.64.120.0/24")[0]}},
			MayCover: []string{"hscn"},
			Hubs: []config.Hub{{Peer: config.Peer{Name: "hub-north", PublicKey: "a", PresharedKeyFile: "/f", AllowedIPs: prefixes("198.51.100.0/24"), Keepalive: time.Second},
				Endpoints: []string{"192.0.2.10:51820"}, Device: "gn-k-n"}},
			Sites: []config.Peer{{Name: "avocet-1", PublicKey: "b", PresharedKeyFile: "/f", AllowedIPs: prefixes("100.64.0.9/32"), Keepalive: time.Second}},
			Allow: []tunnels.Allow{{From: "sites", To: "198.51.100.0/24", Ports: []string{"tcp/443"}}},
		}},
		Checks: []config.Check{{Name: "records", Kind: "tcp", Network: "kestrel", Target: "198.51.100.20:443", Interval: time.Second, Timeout: time.Second,
			Down: 3, Up: 2, Degraded: time.Second, StandsFor: "Patient records", Required: true, Options: map[string]any{"a": "b"}}},
	}
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// TestDiffTellsEveryField changes every field of a config in turn: none may
// change unseen, and a new one has to be put into full first.
func TestDiffTellsEveryField(t *testing.T) {
	if lines := plan.Diff(full(), full()); len(lines) > 0 {
		t.Fatalf("nothing changed: %q", lines)
	}
	told := 0
	for i := range count(full()) {
		c := full()
		what := poke(c, i)
		if name := what[strings.LastIndexByte(what, '.')+1:]; slices.Contains([]string{"Gateway", "Generation", "Hash"}, name) {
			continue // no changes of their own
		}
		if len(plan.Diff(full(), c)) == 0 {
			t.Errorf("%s may change unseen", what)
		}
		told++
	}
	if told < 40 {
		t.Errorf("%d fields were tried", told)
	}
}

// count is how many values poke can change.
func count(c *config.Config) (n int) {
	walk(reflect.ValueOf(c).Elem(), "", func(reflect.Value, string) { n++ })
	return n
}

// poke changes the nth value of a config and says which it was.
func poke(c *config.Config, nth int) (what string) {
	n := 0
	walk(reflect.ValueOf(c).Elem(), "", func(v reflect.Value, path string) {
		if n++; n != nth+1 {
			return
		}
		what = path
		switch x := v.Addr().Interface().(type) {
		case *netip.Prefix:
			*x = netip.PrefixFrom(x.Addr().Next(), x.Bits())
			return
		case *map[string]any:
			*x = map[string]any{"c": "d"}
			return
		}
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Uint64:
			v.SetUint(v.Uint() + 1)
		default:
			v.SetInt(v.Int() + 1)
		}
	})
	return what
}

func walk(v reflect.Value, path string, visit func(reflect.Value, string)) {
	switch _, whole := v.Interface().(netip.Prefix); {
	case whole || v.Kind() == reflect.Map:
		visit(v, path)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				walk(v.Field(i), path+"."+f.Name, visit)
			}
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), path, visit)
		}
	default:
		visit(v, path)
	}
}

// TestDiff: the words of what changes.
func TestDiff(t *testing.T) {
	change := func(do func(*config.Config)) []string {
		c := full()
		do(c)
		return plan.Diff(full(), c)
	}
	for want, do := range map[string]func(*config.Config){
		"+ kestrel, lan 192.168.44.0/24": func(c *config.Config) {
			c.Networks[0].LAN = append(c.Networks[0].LAN, prefixes("192.168.44.0/24")...)
		},
		"+ heron, lan 192.168.1.0/24 as 100.64.121.0/24": func(c *config.Config) {
			c.Networks = append(c.Networks, config.Network{Name: "heron", LAN: prefixes("192.168.1.0/24"),
				Map: []tunnels.Map{{LAN: prefixes("192.168.1.0/24")[0], As: prefixes("100.64.121.0/24")[0]}}})
		},
		"- kestrel": func(c *config.Config) { c.Networks = nil },
		"~ hub hub-north on kestrel: another public key": func(c *config.Config) { c.Networks[0].Hubs[0].PublicKey = "z" },
		"~ peers: + bittern-1; - avocet-1": func(c *config.Config) {
			c.Networks[0].Sites = []config.Peer{{Name: "bittern-1"}}
		},
		"~ check records on kestrel: interval 1s -> 30s":      func(c *config.Config) { c.Checks[0].Interval = 30 * time.Second },
		"~ check records on kestrel: options":                 func(c *config.Config) { c.Checks[0].Options = map[string]any{"password": "x"} },
		"- allow sites -> 198.51.100.0/24 tcp/443 on kestrel": func(c *config.Config) { c.Networks[0].Allow = nil },
		"~ kestrel, mtu 1400 -> 1420":                         func(c *config.Config) { c.Networks[0].MTU = 0 },
	} {
		if got := change(do); !slices.Equal(got, []string{want}) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	many := full()
	many.Networks[0].Sites = nil
	for i := range 9 {
		many.Networks[0].Sites = append(many.Networks[0].Sites, config.Peer{Name: "s" + string(rune('1'+i))})
	}
	if got := plan.Diff(full(), many); !slices.Equal(got, []string{"~ peers: + s1 and 8 more; - avocet-1"}) {
		t.Errorf("%q", got)
	}
}
