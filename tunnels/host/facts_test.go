package host

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"net/netip"

	"github.com/ginnel/ginnel/tunnels"
)

func TestFacts(t *testing.T) {
	if !apart(t) {
		return
	}
	sh(t, `set -e; echo 0 | tee /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv4/conf/default/rp_filter
		for l in wan4 wan6 hubway lan gn-x; do ip link add $l type veth peer name p-$l; ip link set $l up; ip link set p-$l up; done
		echo 0 | tee /proc/sys/net/ipv6/conf/p-*/accept_ra >/dev/null
		ip addr add 192.0.2.2/24 dev wan4; ip route add default via 192.0.2.1; ip -6 addr add 2001:db8::2/64 dev wan6 nodad
		ip -6 route add default dev wan6; ip addr add 203.0.113.2/24 dev hubway; ip addr add 192.168.10.1/24 dev lan
		ip addr add 100.64.0.1/24 dev gn-x; ip route add unreachable default metric 9999; ip route add default dev lan table 99
		echo 1 > /proc/sys/net/ipv4/conf/lan/forwarding; echo 0 > /proc/sys/net/ipv6/conf/lan/accept_ra`)
	spec := tunnels.Spec{Networks: []tunnels.Network{{Devices: []tunnels.Tunnel{{Peers: []tunnels.PeerSpec{
		{Endpoints: []string{"hub-north.example.net:51820", "203.0.113.9:51820", "100.64.0.5:51820"}}}}}}}}
	h := open(t)
	look := func() tunnels.Facts {
		t.Helper()
		f, err := h.Facts(t.Context(), spec)
		must(t, err)
		f.Links = keep(f.Links, func(l tunnels.Link) bool { return !strings.HasPrefix(l.Name, "p-") && l.Name != "lo" })
		return f
	}
	want := tunnels.Facts{
		Uplinks: []string{"hubway", "wan4", "wan6"},
		Links: []tunnels.Link{
			{Name: "hubway", Addresses: prefixes("203.0.113.2/24"), TakesRA: true},
			{Name: "lan", Addresses: prefixes("192.168.10.1/24"), Forwarding: true},
			{Name: "wan4", Addresses: prefixes("192.0.2.2/24"), TakesRA: true},
			{Name: "wan6", Addresses: prefixes("2001:db8::2/64"), TakesRA: true},
		},
	}
	same := cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if diff := cmp.Diff(want, look(), same); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	// What we changed is told as it was before us, also by the next process.
	for path, value := range map[string]string{"net/ipv4/conf/wan4/forwarding": "1", "net/ipv6/conf/wan6/accept_ra": "2",
		"net/ipv4/conf/lan/forwarding": "1", "net/ipv6/conf/all/forwarding": "1"} {
		must(t, h.Apply(t.Context(), tunnels.Step{Op: tunnels.Add, Kind: tunnels.SettingKind, Setting: &tunnels.Setting{Path: path, Value: value}}))
	}
	h.Close()
	h = open(t)
	if diff := cmp.Diff(want, look(), same); diff != "" {
		t.Errorf("facts after our changes (-want +got):\n%s", diff)
	}
	for _, of := range []string{"all", "default"} {
		sh(t, "echo 1 > /proc/sys/net/ipv4/conf/"+of+"/rp_filter")
		strict := look().StrictPaths
		sh(t, "echo 2 > /proc/sys/net/ipv4/conf/"+of+"/rp_filter")
		if !strict || look().StrictPaths {
			t.Errorf("rp_filter of %s: at 1 paths are strict: %v, at 2: %v", of, strict, look().StrictPaths)
		}
	}
	h.opts.Uplinks = []string{"dsl0"}
	if got := look().Uplinks; !cmp.Equal(got, []string{"dsl0"}) {
		t.Errorf("uplinks that we were told: %v", got)
	}
}

func keep[T any](all []T, if_ func(T) bool) (kept []T) {
	for _, x := range all {
		if if_(x) {
			kept = append(kept, x)
		}
	}
	return kept
}

func TestSettings(t *testing.T) {
	if !apart(t) {
		return
	}
	h, ctx := open(t), t.Context()
	sh(t, "ip link add lan type veth peer name far")
	const path = "net/ipv4/conf/lan/forwarding"
	step := func(op tunnels.Op, value string) error {
		return h.Apply(ctx, tunnels.Step{Op: op, Kind: tunnels.SettingKind, Setting: &tunnels.Setting{Path: path, Value: value}})
	}
	observed := func(want ...tunnels.Setting) {
		t.Helper()
		s, err := h.Observe(ctx)
		must(t, err)
		if diff := cmp.Diff(want, s.Settings); diff != "" {
			t.Errorf("observed (-want +got):\n%s", diff)
		}
	}
	value := func() string { return sh(t, "cat /proc/sys/"+path) }

	observed()
	must(t, step(tunnels.Add, "1"))
	observed(tunnels.Setting{Path: path, Value: "1"})
	var file remembered
	text, err := os.ReadFile("/run/sysctls.json")
	must(t, err)
	must(t, json.Unmarshal(text, &file))
	if file.Former[path] != "0" {
		t.Errorf("remembered: %s", text)
	}
	sh(t, "echo 0 > /proc/sys/"+path) // somebody puts it back: it is ours still
	observed(tunnels.Setting{Path: path, Value: "0"})
	must(t, step(tunnels.Change, "1"))
	h.Close()
	h = open(t)
	must(t, step(tunnels.Remove, ""))
	if value() != "0" {
		t.Errorf("it was 0 before us and is %s", value())
	}
	observed()

	// A value that was as we want it is left so.
	sh(t, "echo 1 > /proc/sys/"+path)
	must(t, step(tunnels.Add, "1"))
	observed(tunnels.Setting{Path: path, Value: "1"})
	must(t, step(tunnels.Remove, ""))
	if value() != "1" {
		t.Errorf("it was 1 before us and is %s", value())
	}

	// A link that is gone takes its setting along.
	must(t, step(tunnels.Add, "0"))
	sh(t, "ip link del lan")
	observed(tunnels.Setting{Path: path, Value: ""})
	if err := step(tunnels.Change, "0"); err == nil {
		t.Error("wrote to nothing")
	}
	must(t, step(tunnels.Remove, ""))
	observed()
	if left := sh(t, "ls /run/*.json /run/.sysctls* 2>/dev/null || true"); left != "" {
		t.Errorf("files are left: %s", left)
	}
}

// What was remembered before a reboot says nothing of the host of now.
func TestSettingsOfAnotherBoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sysctls.json")
	must(t, os.WriteFile(path, []byte(`{"boot":"another","former":{"net/ipv4/conf/lo/forwarding":"7"}}`), 0o600))
	s, err := loadSettings(path)
	must(t, err)
	if got := s.original("net/ipv4/conf/lo/forwarding"); got == "7" {
		t.Error("it is taken for the original value")
	}
}

// Nothing is written that could not be put back.
func TestSettingsThatCannotBeRemembered(t *testing.T) {
	if !apart(t) {
		return
	}
	s, err := loadSettings("/run/missing/sysctls.json")
	must(t, err)
	before := sh(t, "cat /proc/sys/net/ipv4/conf/lo/forwarding")
	if err := s.set("net/ipv4/conf/lo/forwarding", "1"); err == nil {
		t.Error("no error")
	}
	if after := sh(t, "cat /proc/sys/net/ipv4/conf/lo/forwarding"); after != before {
		t.Errorf("it was %s and is %s", before, after)
	}
}
