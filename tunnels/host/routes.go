package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	raw "github.com/mdlayher/netlink"
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
		list, err := again(func() ([]raw.Message, error) { return dump(family, Protocol, 0) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		found = slices.Grow(found, len(list))
		for _, m := range list {
			found = append(found, routeOf(m.Data, names))
		}
	}
	return found, nil
}

// routeOf reads a struct rtmsg and its attributes as a route of ours. A big hub has
// tens of thousands, at each look: nothing is allocated for one.
func routeOf(data []byte, names map[int]string) tunnels.Route {
	r := tunnels.Route{Table: int(data[4]), Unreachable: data[7] == unix.RTN_UNREACHABLE}
	if data[0] == unix.AF_INET {
		r.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	} else {
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	for kind, value := range attributes(data[unix.SizeofRtMsg:]) {
		switch {
		case kind == unix.RTA_DST:
			if to, ok := netip.AddrFromSlice(value); ok {
				r.Prefix = netip.PrefixFrom(to, int(data[1]))
			}
		case kind == unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(value)
		case len(value) != 4:
		case kind == unix.RTA_TABLE:
			r.Table = int(binary.NativeEndian.Uint32(value))
		case kind == unix.RTA_PRIORITY:
			r.Metric = int(binary.NativeEndian.Uint32(value))
		case kind == unix.RTA_OIF && !r.Unreachable: // IPv6 shows the loopback link there
			r.Device = names[int(binary.NativeEndian.Uint32(value))]
		}
	}
	return r
}

// attributes goes through attributes of netlink, for as long as they are whole.
func attributes(data []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(data) >= unix.SizeofRtAttr {
			length := int(binary.NativeEndian.Uint16(data))
			if length < unix.SizeofRtAttr || length > len(data) ||
				!yield(binary.NativeEndian.Uint16(data[2:]), data[unix.SizeofRtAttr:length]) {
				return
			}
			data = data[min((length+3)&^3, len(data)):]
		}
	}
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
