package tunnels

import (
	"net/netip"
	"slices"
)

// enable6 gives IPv6 to the devices of a network that has addresses of it, where
// new links come without: else they could not get them.
func (w *wanting) enable6(n Network) {
	if !w.facts.Disabled6 || !slices.ContainsFunc(n.Addresses, isIPv6) && !slices.ContainsFunc(accepted(n), isIPv6) {
		return
	}
	for _, t := range n.Devices {
		w.setting(n, "net/ipv6/conf/"+t.Device+"/disable_ipv6", "0")
	}
}

// withoutIPv6 is n for a host that has none: its IPv4 goes on.
func (w *wanting) withoutIPv6(n Network) Network {
	four := func(list []netip.Prefix) []netip.Prefix { return slices.DeleteFunc(slices.Clone(list), isIPv6) }
	if slices.ContainsFunc(slices.Concat(n.Addresses, n.LAN, accepted(n)), isIPv6) {
		w.problem(n, FamilyPart, "boot without ipv6.disable=1", "its IPv6 is left out: this host's kernel has none")
	}
	n.Addresses, n.LAN, n.Devices = four(n.Addresses), four(n.LAN), slices.Clone(n.Devices)
	n.Refused = four(n.Refused)
	n.Map = slices.DeleteFunc(slices.Clone(n.Map), func(m Map) bool { return isIPv6(m.LAN) })
	for i := range n.Devices {
		peers := slices.Clone(n.Devices[i].Peers)
		for j := range peers {
			peers[j].AllowedIPs = four(peers[j].AllowedIPs)
		}
		n.Devices[i].Peers = peers
	}
	return n
}

func isIPv6(p netip.Prefix) bool { return p.IsValid() && p.Addr().Is6() }

// accepted is all that the peers of a network have, and those that are shut out.
func accepted(n Network) []netip.Prefix {
	var lists [][]netip.Prefix
	for _, t := range n.Devices {
		lists = slices.Grow(lists, len(t.Peers)+1)
		for _, p := range t.Peers {
			lists = append(lists, p.AllowedIPs)
		}
	}
	return slices.Concat(append(lists, n.Refused)...)
}
