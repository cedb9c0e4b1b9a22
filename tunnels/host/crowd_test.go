package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// Many routes at once are those that one by one would be made, and one that is
// there already is told.
func TestAddRoutes(t *testing.T) {
	if !apart(t) {
		return
	}
	sh(t, `ip link add gn-lan type veth peer name far; ip link set gn-lan up; ip link set far up
		ip addr add 192.0.2.2/24 dev gn-lan; ip -6 addr add 2001:db8:1::2/64 dev gn-lan nodad`)
	h := open(t)
	var all []tunnels.Route
	add := func(prefix, source string) {
		p := netip.MustParsePrefix(prefix)
		carries := tunnels.Route{Table: 7001, Prefix: p, Device: "gn-lan", Metric: tunnels.RouteMetric}
		if source != "" {
			carries.Source = netip.MustParseAddr(source)
		}
		all = append(all, carries, tunnels.Route{Table: 7001, Prefix: p, Unreachable: true, Metric: tunnels.UnreachableMetric})
	}
	for i := range 2 * atOnce {
		add(fmt.Sprintf("100.64.%d.%d/32", 1+i/256, i%256), "192.0.2.2")
		add(fmt.Sprintf("2001:db8:%x::/48", 16+i), "2001:db8:1::2")
	}
	add("203.0.113.77/24", "")
	show := func() string {
		out, err := exec.Command("sh", "-c", "ip -d route show table 7001; ip -6 -d route show table 7001").Output()
		must(t, err)
		return string(out)
	}
	must(t, h.AddRoutes(t.Context(), all))
	together := show()
	sh(t, `ip route flush table 7001; ip -6 route flush table 7001`)
	for i := range all {
		must(t, h.Apply(t.Context(), tunnels.Step{Op: tunnels.Add, Kind: tunnels.RouteKind, Route: &all[i]}))
	}
	if single := show(); together != single || together == "" {
		t.Errorf("at once they are\n%s\none by one\n%s", together, single)
	}
	sh(t, `ip route del 100.64.1.7/32 table 7001 metric 100`)
	if err := h.AddRoutes(t.Context(), all); !errors.Is(err, unix.EEXIST) {
		t.Errorf("routes that are there: %v, want %v", err, unix.EEXIST)
	}
	far := []tunnels.Route{{Table: 7001, Prefix: netip.MustParsePrefix("198.51.100.0/24"), Device: "gn-none"}}
	if err := h.AddRoutes(t.Context(), far); !noLink(err) {
		t.Errorf("a link that is not there: %v", err)
	}
}
