package fleet

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/agent/config"
)

// readAddresses reads addresses.csv and gives an address to every gateway of a
// network that has none yet: the lowest that is in no row, not of an `as`, and
// not the overlay's first or last. A row of a gateway that is gone keeps its
// address from others for as long as it is there.
func (r *reading) readAddresses() {
	listed := map[string]map[netip.Addr]*row{} // by network
	had := map[end]*row{}
	r.findMaps()
	for _, c := range r.rowsOf(addressesFile, addressColumns) {
		e := end{c.s.get(c.row, "gateway"), c.s.get(c.row, "network")}
		a, ok := c.address()
		if first, twice := had[e]; twice {
			c.problem("gateway", "take one of the rows out", "%s has an address in %s in row %d as well", e.gateway, e.network, first.line)
			continue
		}
		had[e] = c.row
		if !ok {
			continue
		}
		if first, twice := listed[e.network][a]; twice {
			c.problem("address", "take the younger row out, and the next plan gives another", "%v is that of %s as well, row %d", a, c.s.get(first, "gateway"), first.line)
			continue
		}
		if listed[e.network] == nil {
			listed[e.network] = map[netip.Addr]*row{}
		}
		listed[e.network][a] = c.row
		if r.here(e) {
			r.address[e] = netip.PrefixFrom(a, a.BitLen())
			r.addressRow[e] = c.row
			r.fitsOverlay(c, e.network, a)
		}
	}
	for i := range r.Networks {
		r.give(&r.Networks[i], listed[r.Networks[i].Name], had)
	}
}

func (c cells) address() (netip.Addr, bool) {
	t := c.s.get(c.row, "address")
	a, err := netip.ParseAddr(t)
	if err != nil {
		if p, err := netip.ParsePrefix(t); err == nil && p.IsSingleIP() {
			return p.Addr(), true
		}
		c.problem("address", "as in 100.64.0.7", "%s is not an address", config.Show(t))
	}
	return a, err == nil
}

// here says whether a gateway is one of a network's now.
func (f *Fleet) here(e end) bool {
	if _, ok := f.memberAt[e]; ok {
		return true
	}
	i, ok := f.networkAt[e.network]
	return ok && slices.Contains(f.Networks[i].Hubs, e.gateway)
}

// fitsOverlay tells an address that its network has no room for.
func (r *reading) fitsOverlay(c cells, network string, a netip.Addr) {
	const hint = "take the row out, and the next plan gives another"
	n := r.network(network)
	if n.Overlay.IsValid() && !n.Overlay.Contains(a) {
		c.problem("address", hint, "%v is not in the overlay of %s, %v", a, network, n.Overlay)
		return
	}
	if i, in := slices.BinarySearchFunc(r.maps[network], a, byAddress); in {
		p := r.maps[network][i]
		c.problem("address", "give the `as` another prefix; "+r.freeHint(n, p.prefix.Bits(), ""), "%v is in %v, an `as` of %s (%s)",
			a, p.prefix, p.site.ID, at(attachmentsFile, p.lan.line))
	}
}

// byAddress finds the piece that an address is in.
func byAddress(p piece, a netip.Addr) int {
	if p.prefix.Contains(a) {
		return 0
	}
	return p.prefix.Addr().Compare(a)
}

// findMaps lists what is `as` in each network, in the order of addresses.
func (r *reading) findMaps() {
	r.maps = map[string][]piece{}
	for network, list := range r.members {
		for _, m := range list {
			for _, l := range m.lans {
				if l.As.IsValid() {
					r.maps[network] = append(r.maps[network], piece{prefix: l.As, site: m.site, lan: l})
				}
			}
		}
		slices.SortFunc(r.maps[network], func(x, y piece) int { return x.prefix.Compare(y.prefix) })
	}
}

// give finds an address for all that have none.
func (r *reading) give(n *Network, taken map[netip.Addr]*row, had map[end]*row) {
	if !n.Overlay.IsValid() {
		return
	}
	asked := slices.Clone(n.Hubs)
	for _, m := range r.members[n.Name] {
		asked = append(asked, m.gateway)
	}
	a := n.Overlay.Addr()
	for _, gateway := range asked {
		e := end{gateway, n.Name}
		if _, ok := had[e]; !ok {
			if a = nextFree(n.Overlay, a, taken, r.maps[n.Name]); !a.IsValid() {
				n.table.Problem("overlay", "take rows of gateways that are gone out of "+addressesFile+", or widen it", "%v has no address left for %s", n.Overlay, gateway)
				return
			}
			r.address[e] = netip.PrefixFrom(a, a.BitLen())
			s := r.written(addressesFile, addressColumns)
			s.add("gateway", gateway, "network", n.Name, "address", a.String())
			r.given = put(r.given, gateway, true)
		}
		if m := r.memberAt[e]; m != nil {
			m.address = r.address[e]
		}
	}
}

// nextFree is the first address behind a that nobody has.
func nextFree(overlay netip.Prefix, a netip.Addr, taken map[netip.Addr]*row, maps []piece) netip.Addr {
	for a = a.Next(); a.IsValid() && overlay.Contains(a); a = a.Next() {
		if _, used := taken[a]; used || a == last(overlay) {
			continue
		}
		i, in := slices.BinarySearchFunc(maps, a, byAddress)
		if !in {
			return a
		}
		a = last(maps[i].prefix)
	}
	return netip.Addr{}
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for i := p.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}

// Given are the gateways that this Load gave an address, because addresses.csv
// had none. Save writes it.
func (f *Fleet) Given() []string { return names(f.given) }

// AddressOf is a gateway's address in a network.
func (f *Fleet) AddressOf(gateway, network string) (netip.Addr, bool) {
	p, ok := f.address[end{gateway, network}]
	return p.Addr(), ok
}

// freeHint names a prefix that nothing in the network has, a new one at each
// call; empty where there is none.
func (r *reading) freeHint(n *Network, length int, before string) string {
	p := r.free(n, length)
	if !p.IsValid() {
		return before + fmt.Sprintf("%v has no /%d left", n.Overlay, length)
	}
	return before + p.String() + " is free"
}

// free looks behind the last `as` of the network; where there is none, in the
// upper half of the overlay, away from the addresses.
func (r *reading) free(n *Network, length int) netip.Prefix {
	if !n.Overlay.IsValid() || length <= n.Overlay.Bits() {
		return netip.Prefix{}
	}
	var used []netip.Prefix
	from := upperHalf(n.Overlay)
	for _, m := range r.members[n.Name] {
		for _, l := range m.lans {
			if l.As.IsValid() && within(l.As, n.Overlay) {
				used = append(used, l.As)
				if from.Less(last(l.As)) {
					from = last(l.As).Next()
				}
			}
		}
	}
	for e, a := range r.address {
		if e.network == n.Name && from.Compare(a.Addr()) <= 0 {
			used = append(used, a)
		}
	}
	if told := r.told[n.Name]; told.IsValid() && from.Compare(told) < 0 {
		from = told
	}
	for p := netip.PrefixFrom(from, length).Masked(); p.IsValid() && n.Overlay.Contains(p.Addr()); p = netip.PrefixFrom(last(p).Next(), length) {
		if p.Addr().Compare(from) >= 0 && !slices.ContainsFunc(used, p.Overlaps) {
			r.told = put(r.told, n.Name, last(p).Next())
			return p
		}
		if !last(p).Next().IsValid() {
			break
		}
	}
	return netip.Prefix{}
}

func upperHalf(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return p.Addr()
	}
	raw := p.Addr().AsSlice()
	raw[p.Bits()/8] |= 1 << (7 - p.Bits()%8)
	a, _ := netip.AddrFromSlice(raw)
	return a
}
