package builtin

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// linkState is what the kernel says of a link. Counts are since it was made.
type linkState struct {
	name        string
	index, mtu  int
	up, carrier bool   // switched on; a live other end
	state       string // RFC 2863, as "up" or "dormant"
	speed       int    // Mbit/s; 0: not told
	duplex      string // "full", "half" or "unknown"
	addresses   []netip.Addr
	dynamic     map[netip.Addr]time.Duration // how long those addresses are valid that are not for ever
	packets     uint64                       // received and sent well
	errors      uint64                       // damaged
	drops       uint64                       // for want of room, and what nobody here understands
	downs       uint64                       // how often the carrier was lost
	lease       lease
	at          time.Time
}

// passed is what passed between two looks.
type passed struct {
	packets, errors, drops uint64
	flaps                  int
}

func (s linkState) since(before linkState) passed {
	if before.at.IsZero() {
		return passed{}
	}
	more := func(now, then uint64) uint64 { return now - min(now, then) } // a driver may begin one anew
	return passed{packets: more(s.packets, before.packets), errors: more(s.errors, before.errors), drops: more(s.drops, before.drops),
		flaps: int(more(s.downs, before.downs))}
}

// readLink looks at a link; without a name at that of the default route. It asks
// netlink and not sysfs, which may be that of another network namespace.
func readLink(name string) (linkState, error) {
	if name == "" {
		var err error
		if name, err = defaultLink(); err != nil {
			return linkState{}, err
		}
	}
	l, err := netlink.LinkByName(name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return linkState{}, reach.Fail(checks.Unreachable, checks.PhaseRoute, "there is no link %s on this host", name)
	}
	if err != nil {
		return linkState{}, reach.Ours(checks.SelfFault, checks.PhaseRoute, "looking at link %s: %v", name, err)
	}
	a := l.Attrs()
	s := linkState{name: a.Name, index: a.Index, mtu: a.MTU, state: a.OperState.String(), at: time.Now(),
		up: a.RawFlags&unix.IFF_UP != 0, carrier: a.RawFlags&unix.IFF_LOWER_UP != 0}
	if c := a.Statistics; c != nil {
		s.packets, s.errors, s.drops = c.RxPackets+c.TxPackets, c.RxErrors+c.TxErrors, c.RxDropped+c.TxDropped
	}
	s.downs = carrierLost(a.Index)
	s.speed, s.duplex = speedOf(name)
	return s, s.readAddresses(l)
}

// readAddresses takes those that are not link-local.
func (s *linkState) readAddresses(l netlink.Link) error {
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return reach.Ours(checks.SelfFault, checks.PhaseRoute, "listing the addresses of %s: %v", s.name, err)
	}
	s.dynamic = map[netip.Addr]time.Duration{}
	for _, x := range list {
		a, ok := netip.AddrFromSlice(x.IP)
		if a = a.Unmap(); !ok || a.IsLinkLocalUnicast() {
			continue
		}
		s.addresses = append(s.addresses, a)
		if x.Flags&unix.IFA_F_PERMANENT == 0 && uint32(x.ValidLft) != ^uint32(0) {
			s.dynamic[a] = time.Duration(x.ValidLft) * time.Second
		}
	}
	slices.SortFunc(s.addresses, netip.Addr.Compare)
	return nil
}

// defaultLink is the link of the best default route of the host's own table,
// that of IPv4 first.
func defaultLink() (string, error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return "", reach.Ours(checks.SelfFault, checks.PhaseRoute, "listing routes: %v", err)
		}
		best := -1
		for i, r := range routes {
			if index := outOf(r); index == 0 || r.Dst != nil && !isDefault(r.Dst) || r.Type != unix.RTN_UNICAST {
				continue
			}
			if best < 0 || r.Priority < routes[best].Priority {
				best = i
			}
		}
		if best >= 0 {
			l, err := netlink.LinkByIndex(outOf(routes[best]))
			if err != nil {
				return "", reach.Ours(checks.SelfFault, checks.PhaseRoute, "looking for the link of the default route: %v", err)
			}
			return l.Attrs().Name, nil
		}
	}
	return "", reach.Fail(checks.Unreachable, checks.PhaseRoute, "this host has no default route")
}

// outOf is the index of the link that a route leaves by, of several the first.
func outOf(r netlink.Route) int {
	if r.LinkIndex == 0 && len(r.MultiPath) > 0 {
		return r.MultiPath[0].LinkIndex
	}
	return r.LinkIndex
}

func isDefault(n *net.IPNet) bool {
	ones, _ := n.Mask.Size()
	return ones == 0
}

// carrierLost counts how often a link lost its carrier since it was made; 0 also
// where the kernel does not tell.
func carrierLost(index int) uint64 {
	q := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	q.AddData(m)
	answers, err := q.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(answers) == 0 || len(answers[0]) < unix.SizeofIfInfomsg {
		return 0
	}
	attributes, err := nl.ParseRouteAttr(answers[0][unix.SizeofIfInfomsg:])
	if err != nil {
		return 0
	}
	for _, a := range attributes {
		if a.Attr.Type == unix.IFLA_CARRIER_DOWN_COUNT && len(a.Value) >= 4 {
			return uint64(nl.NativeEndian().Uint32(a.Value))
		}
	}
	return 0
}

// ethtoolSettings is struct ethtool_cmd of linux/ethtool.h, which x/sys/unix has
// not.
type ethtoolSettings struct {
	cmd, supported, advertising uint32
	speed                       uint16
	duplex, port, phy, xcvr     uint8
	autoneg, mdio               uint8
	maxTX, maxRX                uint32
	speedHigh                   uint16
	mdix, mdixCtrl              uint8
	lpAdvertising               uint32
	_                           [2]uint32
}

// speedOf asks the driver for the speed in Mbit/s and the duplex; 0 and
// "unknown": it does not tell, as those of tunnels and bridges.
func speedOf(link string) (speed int, duplex string) {
	duplex = "unknown"
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, duplex
	}
	defer unix.Close(fd)
	settings := ethtoolSettings{cmd: unix.ETHTOOL_GSET}
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], link)
	request.data = unsafe.Pointer(&settings)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return 0, duplex
	}
	if n := uint32(settings.speedHigh)<<16 | uint32(settings.speed); n > 0 && n != ^uint32(0) && n != 0xffff {
		speed = int(n)
	}
	switch settings.duplex {
	case 0:
		duplex = "half"
	case 1:
		duplex = "full"
	}
	return speed, duplex
}
