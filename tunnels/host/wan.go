package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// Port is a link that leads to the WAN, as it is now.
type Port struct {
	Name      string
	There, Up bool // there, and switched on
	Carrier   bool
	Addresses []netip.Addr // but link-local ones
}

// Hop is the next hop of a default route.
type Hop struct {
	Address netip.Addr // zero: the link itself leads out
	Link    string
	// Answers and Silent are what the neighbour table says; neither: nothing.
	Answers, Silent bool
}

// Ports tells of the named links, those that are gone too.
func (h *Host) Ports(names []string) ([]Port, error) {
	links, err := again(h.net.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	addresses, err := h.addresses()
	if err != nil {
		return nil, err
	}
	var ports []Port
	for _, name := range names {
		p := Port{Name: name}
		if i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name }); i >= 0 {
			a := links[i].Attrs()
			p.There, p.Up, p.Carrier = true, a.RawFlags&unix.IFF_UP != 0, a.RawFlags&unix.IFF_LOWER_UP != 0
			for _, prefix := range addresses[a.Index] {
				if !prefix.Addr().IsLinkLocalUnicast() {
					p.Addresses = append(p.Addresses, prefix.Addr())
				}
			}
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// Hops are the next hops of the host's own default routes, with what the kernel
// last heard of them.
func (h *Host) Hops() ([]Hop, error) {
	names, err := h.linkNames()
	if err != nil {
		return nil, err
	}
	var hops []Hop
	for _, family := range h.families() {
		routes, err := again(func() ([]netlink.Route, error) { return dumpRoutes(family, 0, unix.RT_TABLE_MAIN, every) })
		if err != nil {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst != nil && !r.Dst.IP.IsUnspecified() || r.Type != unix.RTN_UNICAST || wireguard.Ours(names[r.LinkIndex]) {
				continue
			}
			ways := r.MultiPath
			if len(ways) == 0 {
				ways = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
			}
			for _, w := range ways {
				hop := Hop{Link: names[w.LinkIndex]}
				if a, ok := netip.AddrFromSlice(w.Gw); ok {
					hop.Address = a.Unmap()
					h.neighbour(&hop, w.LinkIndex, family)
				}
				hops = append(hops, hop)
			}
		}
	}
	return hops, nil
}

// neighbour says of a hop what the neighbour table says: an entry that is stale
// or was written by hand proves nothing.
func (h *Host) neighbour(hop *Hop, index, family int) {
	list, err := again(func() ([]netlink.Neigh, error) { return h.net.NeighList(index, family) })
	if err != nil {
		return // as if it said nothing
	}
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP); !ok || a.Unmap() != hop.Address {
			continue
		}
		hop.Answers = n.State&netlink.NUD_REACHABLE != 0
		hop.Silent = n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) != 0
	}
}

// Way is where the kernel would send a packet.
type Way struct {
	Device  string // empty: nowhere
	Table   int    // whose route says so; 0: not told
	Refused bool   // a route refuses it
	Rule    string // the rule of somebody else that leads into Table; may be empty
}

// ErrNoProbe says that there is nothing to look the way up with: no link of the
// LAN is there, or all addresses of the prefix are ours.
var ErrNoProbe = errors.New("no packet of that prefix can come in here")

// Way looks up the way of a packet: of our own where from is an address of ours,
// else of one that comes in by the link ingress (empty: the link that has an
// address within from).
func (h *Host) Way(from netip.Prefix, to netip.Addr, ingress string) (Way, netip.Addr, error) {
	source, in, err := h.packet(from, ingress)
	if err != nil {
		return Way{}, source, err
	}
	list, err := h.net.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{SrcAddr: source.AsSlice(), Iif: in})
	switch {
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL) && in == "":
		return Way{Refused: true}, source, nil
	case errors.Is(err, unix.ENETUNREACH):
		return Way{}, source, nil
	case err != nil:
		return Way{}, source, fmt.Errorf("look up the way from %s to %s: %w", source, to, err)
	case len(list) == 0:
		return Way{}, source, nil
	}
	names, err := h.linkNames()
	if err != nil {
		return Way{}, source, err
	}
	w := Way{Device: names[list[0].LinkIndex], Table: list[0].Table}
	if list[0].Type == unix.RTN_UNREACHABLE || list[0].Type == unix.RTN_PROHIBIT || list[0].Type == unix.RTN_BLACKHOLE {
		w.Device, w.Refused = "", true
	}
	w.Rule = h.ruleInto(w.Table, to)
	return w, source, nil
}

// packet chooses a source address within from, and the link that a packet of it
// comes in by; no link: it is our own.
func (h *Host) packet(from netip.Prefix, ingress string) (netip.Addr, string, error) {
	addresses, err := h.addresses()
	if err != nil {
		return netip.Addr{}, "", err
	}
	names, err := h.linkNames()
	if err != nil {
		return netip.Addr{}, "", err
	}
	own := map[netip.Addr]bool{}
	for index, list := range addresses {
		for _, p := range list {
			own[p.Addr()] = true
			if ingress == "" && from.Contains(p.Addr()) && !wireguard.Ours(names[index]) {
				ingress = names[index]
			}
		}
	}
	if from.IsSingleIP() && own[from.Addr()] {
		return from.Addr(), "", nil
	}
	if ingress == "" {
		return netip.Addr{}, "", ErrNoProbe
	}
	for a, n := from.Masked().Addr().Next(), 0; from.Contains(a) && n < 300; a, n = a.Next(), n+1 {
		if !own[a] && n > 0 { // the first is often the router's
			return a, ingress, nil
		}
	}
	return netip.Addr{}, "", ErrNoProbe
}

// ruleInto is the first rule of somebody else that leads into a table, the
// host's usual ones left out.
func (h *Host) ruleInto(table int, to netip.Addr) string {
	family := netlink.FAMILY_V4
	if to.Is6() {
		family = netlink.FAMILY_V6
	}
	list, err := again(func() ([]netlink.Rule, error) { return h.net.RuleList(family) })
	if err != nil {
		return ""
	}
	for _, r := range list {
		if r.Protocol == Protocol || r.Table != table || r.Priority == 0 || r.Priority >= 32766 {
			continue
		}
		text := fmt.Sprintf("%d:", r.Priority)
		if p, ok := prefixOf(r.Src); ok && p.Bits() > 0 {
			text += " from " + p.String()
		}
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			text += " to " + p.String()
		}
		if r.IifName != "" {
			text += " iif " + r.IifName
		}
		return fmt.Sprintf("%s lookup %d", text, table)
	}
	return ""
}
