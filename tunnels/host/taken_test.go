package host

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
)

// All that somebody else has is told at once, each by its object, and nothing
// is written.
func TestTaken(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h, ctx := open(t), t.Context()
	taken := func() (lines []string) {
		t.Helper()
		list, err := h.Taken(ctx, siteSpec)
		must(t, err)
		for _, x := range list {
			if x.Network != "kestrel" || x.Hint == "" {
				t.Errorf("taken: %+v", x)
			}
			lines = append(lines, fmt.Sprintf("%s %s: %s | %s", x.Kind, x.Device, x.By, x.Hint))
		}
		return lines
	}
	if found := taken(); len(found) != 0 {
		t.Errorf("on a host with nobody else: %q", found)
	}
	sh(t, `ip link add gn-site type bridge
		ip route add 203.0.113.0/24 via 192.0.2.1 proto static table 7001; ip -6 route add unreachable 2001:db8:7::/48 table 7001
		ip route add 203.0.113.0/24 via 192.0.2.1 table 7002; ip rule add from 203.0.113.8 lookup 7003 priority 4999
		ip rule add from 203.0.113.9 iif lan lookup 12 priority 5031; ip -6 rule add fwmark 7 lookup 12 priority 5000
		ip rule add lookup 12 priority 5032`)
	c, err := net.ListenPacket("udp6", "[::]:51821")
	must(t, err)
	before := picture(t)
	want := []string{
		"device gn-site: link gn-site is a bridge | write another: device",
		"table : routes 203.0.113.0/24 via 192.0.2.1 dev wan proto static; unreachable 2001:db8:7::/48 | write a free number: table = 7004",
		"priority : rules 5000: fwmark 0x7 lookup 12; 5031: from 203.0.113.9/32 iif lan lookup 12 | write a free one: priority = 5064",
		"listen_port gn-site: host.test (pid 1) has UDP port 51821 | end it",
	}
	found := taken()
	for i, w := range want {
		if i >= len(found) || !strings.HasPrefix(found[i], w) {
			t.Errorf("%d: want %s\nall: %s", i, w, strings.Join(found, "\n"))
		}
	}
	if after := picture(t); after != before {
		t.Errorf("it wrote:\n%s", after)
	}
	c.Close()
	sh(t, `ip link del gn-site; ip route flush table 7001; ip -6 route flush table 7001; ip rule del priority 5031; ip -6 rule del priority 5000`)

	// What we have ourselves is not taken, also for the next process.
	converge(t, h, siteSpec)
	if found := taken(); len(found) != 0 {
		t.Errorf("by ourselves: %q", found)
	}
	next := open(t)
	if list, err := next.Taken(ctx, siteSpec); err != nil || len(list) != 0 {
		t.Errorf("by our former process: %v, %v", list, err)
	}
	sh(t, "ip link set gn-site down; ip link set gn-site name other; ip link set other up")
	if found := taken(); len(found) != 0 {
		t.Errorf("by our renamed device: %q", found)
	}
}

// A WireGuard link of somebody else is named; in the kernel no program has its
// socket.
func TestTakenByWireGuard(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h, ctx := open(t), t.Context()
	converge(t, h, siteSpec)
	second := tunnels.Spec{Networks: slices.Clone(siteSpec.Networks)}
	second.Networks[0].Devices = slices.Clone(second.Networks[0].Devices)
	second.Networks[0].Devices[0].Device = "gn-other"
	if list, err := h.Taken(ctx, second); err != nil || len(list) != 0 {
		t.Errorf("a port that moves between devices of ours: %+v, %v", list, err)
	}
	if backend() != "kernel" {
		return
	}
	sh(t, "ip link add wg0 type wireguard; wg set wg0 listen-port 51899; ip link set wg0 up")
	second.Networks[0].Devices[0].ListenPort = 51899
	list, err := h.Taken(ctx, second)
	if err != nil || len(list) != 1 || list[0].By != "WireGuard's link wg0 has UDP port 51899" {
		t.Errorf("%+v, %v", list, err)
	}
}
