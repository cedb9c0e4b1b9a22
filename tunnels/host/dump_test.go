package host

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// Our routes and the default ones are found among very many of others, as the
// library that lists them all finds them, and much sooner.
func TestDumpRoutes(t *testing.T) {
	if !apart(t) {
		return
	}
	sh(t, `ip link add lan type veth peer name far; ip link set lan up; ip link set far up; ip addr add 192.0.2.2/24 dev lan
		ip route add 203.0.113.0/24 dev lan proto 103 table 7001 metric 100; ip route add unreachable 203.0.113.0/24 proto 103 table 70010 metric 20000
		ip route add 198.51.100.0/24 dev lan proto 103 table 7001 src 192.0.2.2
		ip -6 route add 2001:db8:7::/48 dev lan proto 103 table 7001; ip -6 route add unreachable 2001:db8:8::/48 proto 103 table 7001
		ip route add default proto static nexthop dev lan nexthop dev far; ip -6 route add default dev far
		ip route add unreachable default metric 9; ip route add default dev lan table 7001 proto 103
		awk 'BEGIN { for (i = 0; i < 50000; i++) printf "route add 100.%d.%d.%d/32 dev lan\n", 64+i/65536, i/256%256, i%256 }' | ip -batch -`)
	h := open(t)
	names, err := h.linkNames()
	must(t, err)
	for _, family := range h.families() {
		began := time.Now()
		list, err := h.net.RouteListFiltered(family, &netlink.Route{Protocol: Protocol},
			netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		must(t, err)
		slow := time.Since(began)
		began = time.Now()
		got, err := dump(family, Protocol, 0)
		must(t, err)
		quick := time.Since(began)
		var a, b []tunnels.Route
		for _, r := range list {
			a = append(a, readRoute(r, family, names))
		}
		for _, m := range got {
			b = append(b, routeOf(m.Data, names))
		}
		if len(a) < 2 || !slices.Equal(a, b) {
			t.Errorf("family %d: the library has\n%+v\nwe have\n%+v", family, a, b)
		}
		t.Logf("family %d: %d of ours in %v, by the library in %v", family, len(got), quick, slow)
	}
	began := time.Now()
	links, err := h.uplinks(tunnels.Spec{}, names)
	if err != nil || !slices.Equal(links, []string{"far", "lan"}) {
		t.Errorf("uplinks %q, %v", links, err)
	}
	t.Logf("uplinks in %v", time.Since(began))
	four, err := dumpRoutes(unix.AF_INET, 0, unix.RT_TABLE_MAIN, isDefault)
	if err != nil || len(four) != 1 || len(four[0].MultiPath) != 2 {
		t.Errorf("IPv4 defaults: %+v, %v", four, err)
	}
	sh(t, `ip route add default metric 5 nexthop via 192.0.2.1 dev lan nexthop via 192.0.2.9 dev lan; ip route add default via 192.0.2.3 metric 7; ip route add default via 192.0.2.4 table 7001 metric 1`)
	hops, err := h.Hops()
	must(t, err)
	var to []string
	for _, hop := range hops {
		if hop.Address.IsValid() {
			to = append(to, hop.Address.String()+" "+hop.Link)
		}
	}
	if want := []string{"192.0.2.1 lan", "192.0.2.9 lan", "192.0.2.3 lan"}; !slices.Equal(to, want) {
		t.Errorf("next hops %q, want %q", to, want)
	}
	gateways, err := h.Gateways()
	if err != nil || !slices.Equal(gateways, []netip.Addr{netip.MustParseAddr("192.0.2.3")}) {
		t.Errorf("gateways %v, %v", gateways, err)
	}
	if none, err := dumpRoutes(unix.AF_INET, 0, 4711, every); err != nil || len(none) > 0 {
		t.Errorf("a table that is not there: %+v, %v", none, err)
	}
}

// readRoute is routeOf for what the library reads.
func readRoute(r netlink.Route, family int, names map[int]string) tunnels.Route {
	out := tunnels.Route{Table: r.Table, Metric: r.Priority, Unreachable: r.Type == unix.RTN_UNREACHABLE}
	if p, ok := prefixOf(r.Dst); ok {
		out.Prefix = p
	} else if family == netlink.FAMILY_V4 {
		out.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	} else {
		out.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if !out.Unreachable { // IPv6 shows the loopback link there
		out.Device = names[r.LinkIndex]
	}
	if a, ok := netip.AddrFromSlice(r.Src); ok {
		out.Source = a.Unmap()
	}
	return out
}
