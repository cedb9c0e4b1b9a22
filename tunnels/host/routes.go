package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// routes lists the routes that carry our number, in all tables.
func (h *Host) routes() ([]tunnels.Route, error) {
	names, err := h.linkNames()
	if err != nil {
		return nil, err
	}
	var found []tunnels.Route
	for _, family := range h.families() {
		list, err := again(func() ([]netlink.Route, error) { return dumpRoutes(family, Protocol, 0, every) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range list {
			found = append(found, readRoute(r, family, names))
		}
	}
	return found, nil
}

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

// route is r as the kernel is told it.
func (h *Host) route(r *tunnels.Route) (*netlink.Route, error) {
	out := &netlink.Route{Table: r.Table, Dst: ipNet(r.Prefix.Masked()), Priority: r.Metric, Protocol: Protocol}
	if r.Source.IsValid() {
		out.Src = r.Source.AsSlice()
	}
	if r.Unreachable {
		out.Type = unix.RTN_UNREACHABLE
		return out, nil
	}
	link, err := h.net.LinkByName(r.Device)
	if err != nil {
		return nil, err
	}
	out.LinkIndex = link.Attrs().Index
	if r.Prefix.Addr().Is4() {
		out.Scope = netlink.SCOPE_LINK
	}
	return out, nil
}

func (h *Host) applyRoute(s tunnels.Step) error {
	route, err := h.route(s.Route)
	switch {
	case s.Op == tunnels.Remove && noLink(err):
		return nil // routes go with their link
	case err == nil && s.Op == tunnels.Remove:
		err = h.net.RouteDel(route)
		if errors.Is(err, unix.ESRCH) {
			err = nil
		}
	case err == nil:
		err = h.net.RouteAdd(route)
		if errors.Is(err, unix.EEXIST) {
			err = h.replaceOurs(s.Route, route)
		}
	}
	if err != nil {
		return fmt.Errorf("route %v in table %d: %w", s.Route.Prefix, s.Route.Table, err)
	}
	return nil
}

// replaceOurs changes the route with this prefix, table and metric in one
// step, unless somebody else made it.
func (h *Host) replaceOurs(want *tunnels.Route, route *netlink.Route) error {
	ours, err := h.routes()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ours, func(r tunnels.Route) bool {
		return r.Table == want.Table && r.Prefix == want.Prefix.Masked() && r.Metric == want.Metric
	})
	if i < 0 {
		return errors.New("another program has made a route with this prefix, table and metric")
	}
	have := ours[i]
	if have.Device == want.Device && have.Source == want.Source && have.Unreachable == want.Unreachable {
		return nil
	}
	return h.net.RouteReplace(route)
}
