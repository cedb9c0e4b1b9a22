package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// Facts tells what is on this host besides us, as it was before us.
func (h *Host) Facts(ctx context.Context, spec tunnels.Spec) (tunnels.Facts, error) {
	facts := tunnels.Facts{
		Forwarding6: h.settings.original("net/ipv6/conf/all/forwarding") == "1",
		NoIPv6:      !slices.Contains(h.families(), netlink.FAMILY_V6),
		Disabled6:   h.settings.original("net/ipv6/conf/default/disable_ipv6") == "1",
		StrictPaths: h.settings.original("net/ipv4/conf/all/rp_filter") == "1" || h.settings.original("net/ipv4/conf/default/rp_filter") == "1",
	}
	names, err := h.linkNames()
	if err != nil {
		return facts, err
	}
	addresses, err := h.addresses()
	if err != nil {
		return facts, err
	}
	for index, name := range names {
		if wireguard.Ours(name) {
			continue
		}
		facts.Links = append(facts.Links, tunnels.Link{
			Name:       name,
			Addresses:  addresses[index],
			Forwarding: h.settings.original("net/ipv4/conf/"+name+"/forwarding") == "1",
			TakesRA:    h.settings.original("net/ipv6/conf/"+name+"/accept_ra") == "1",
		})
	}
	slices.SortFunc(facts.Links, func(a, b tunnels.Link) int { return strings.Compare(a.Name, b.Name) })
	facts.Uplinks, err = h.uplinks(spec, names)
	return facts, err
}

// uplinks are the links that lead to the WAN: those that we were told, or those
// with a default route and those that the hubs' addresses are routed over.
func (h *Host) uplinks(spec tunnels.Spec, names map[int]string) ([]string, error) {
	if len(h.opts.Uplinks) > 0 {
		return slices.Clone(h.opts.Uplinks), nil
	}
	found := map[string]bool{}
	note := func(r netlink.Route) {
		for _, index := range append([]int{r.LinkIndex}, hops(r)...) {
			if name := names[index]; name != "" && name != "lo" && !wireguard.Ours(name) {
				found[name] = true
			}
		}
	}
	for _, family := range h.families() {
		list, err := again(func() ([]netlink.Route, error) { return dumpRoutes(family, 0, unix.RT_TABLE_MAIN, isDefault) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range list {
			note(r)
		}
	}
	for _, a := range endpoints(spec) {
		list, err := h.net.RouteGet(a.AsSlice())
		if err != nil {
			continue // no way there now: then it is no uplink yet
		}
		for _, r := range list {
			note(r)
		}
	}
	var links []string
	for name := range found {
		links = append(links, name)
	}
	slices.Sort(links)
	return links, nil
}

func hops(r netlink.Route) (indexes []int) {
	for _, p := range r.MultiPath {
		indexes = append(indexes, p.LinkIndex)
	}
	return indexes
}

// endpoints are the addresses that the Spec names; names are for DNS, and most
// ways to them are the default route.
func endpoints(spec tunnels.Spec) (found []netip.Addr) {
	for _, n := range spec.Networks {
		for _, t := range n.Devices {
			for _, p := range t.Peers {
				for _, e := range p.Endpoints {
					if a, err := netip.ParseAddrPort(e); err == nil {
						found = append(found, a.Addr().Unmap())
					}
				}
			}
		}
	}
	return found
}
