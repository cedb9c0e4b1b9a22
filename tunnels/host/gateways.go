package host

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateways are the next hops of the host's own default routes.
func (h *Host) Gateways() ([]netip.Addr, error) {
	var list []netip.Addr
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := again(func() ([]netlink.Route, error) { return dumpRoutes(family, 0, unix.RT_TABLE_MAIN, every) })
		if err != nil {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst != nil && !r.Dst.IP.IsUnspecified() {
				continue
			}
			if a, ok := netip.AddrFromSlice(r.Gw); ok {
				list = append(list, a.Unmap())
			}
		}
	}
	return list, nil
}
