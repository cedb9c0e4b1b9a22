package tunnels

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

// Sum is the digest of all of f but Digest and Refused: 16 hex digits that are
// equal only where the nftables table would be. The order of its lists means
// nothing.
func (f Filter) Sum() string {
	f.Digest, f.Refused = "", nil
	f.Devices, f.Ingress, f.Uplinks, f.Only = sortedSet(f.Devices), sortedSet(f.Ingress), sortedSet(f.Uplinks), sortedSet(f.Only)
	f.LAN, f.Own, f.Shared, f.Far = sortedPrefixes(f.LAN), sortedPrefixes(f.Own), sortedPrefixes(f.Shared), sortedPrefixes(f.Far)
	f.Ports = sortedSet(f.Ports)
	f.Maps = slices.SortedFunc(slices.Values(f.Maps), func(a, b Map) int { return a.LAN.Compare(b.LAN) })
	for _, list := range []*[]Opening{&f.In, &f.Out, &f.Across, &f.Gateway} {
		*list = sortedOpenings(*list)
	}
	text, err := json.Marshal(struct {
		Version int // of what the host makes of these fields
		Filter
	}{5, f})
	if err != nil {
		panic("tunnels: strings and numbers refused by JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// filter wants the network's table. At a hub nothing in it is of one site: the
// tunnels hold each to its own addresses, and a site that comes or goes leaves
// the table as it is.
func (w *wanting) filter(n Network, ingress []Link) {
	f := Filter{Network: n.Name, Table: FilterTable(n.Name), Role: cmp.Or(n.Role, Site), Uplinks: sortedSet(w.uplinks()),
		LAN: slices.Clone(n.LAN), Own: maskedAll(n.Addresses), Shared: w.shared(n), Maps: slices.Clone(n.Map)}
	for _, t := range n.Devices {
		f.Devices = append(f.Devices, t.Device)
		port := t.ListenPort
		if port == 0 {
			port = w.facts.Ports[t.Device]
		}
		if port != 0 {
			f.Ports = append(f.Ports, port)
		}
		if mtu := cmp.Or(t.MTU, DefaultMTU); f.MTU == 0 || mtu < f.MTU {
			f.MTU = mtu
		}
	}
	slices.Sort(f.Ports)
	if f.Role == Site {
		f.Far = sortedPrefixes(accepted(n))
	}
	four, six := families(n)
	for _, l := range ingress {
		f.Ingress = append(f.Ingress, l.Name)
		if four && !l.Forwarding {
			f.Only = append(f.Only, l.Name)
		}
	}
	f.Ingress, f.Only = sortedSet(f.Ingress), sortedSet(f.Only)
	f.Only6 = six && len(ingress) > 0 && !w.facts.Forwarding6
	f.open(n)
	f.Digest = f.Sum()
	w.Filters = append(w.Filters, f)
}

// shared is our addresses inside the network that another link of the host has
// as well: what leaves from them is not all ours to refuse.
func (w *wanting) shared(n Network) (shared []netip.Prefix) {
	for _, a := range maskedAll(n.Addresses) {
		i := slices.IndexFunc(w.facts.Links, func(l Link) bool {
			return slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr() == a.Addr() })
		})
		if i >= 0 {
			shared = append(shared, a)
			w.problem(n, AddressPart, "give the network an address of its own", "our address %v is on %s already", a.Addr(), w.facts.Links[i].Name)
		}
	}
	return shared
}

func maskedAll(list []netip.Prefix) (masked []netip.Prefix) {
	for _, p := range list {
		masked = append(masked, p.Masked())
	}
	return masked
}

// uplinks are the links by which a peer may reach us. Where no route says which
// lead outside, as at a hub on one wire, they are those that have an address and
// are no network's ingress.
func (w *wanting) uplinks() []string {
	if len(w.facts.Uplinks) > 0 {
		return w.facts.Uplinks
	}
	var out []string
	for _, l := range w.facts.Links {
		if l.Name != "lo" && len(l.Addresses) > 0 && !w.inside[l.Name] {
			out = append(out, l.Name)
		}
	}
	return out
}

func sortedSet[T cmp.Ordered](s []T) []T { return slices.Compact(slices.Sorted(slices.Values(s))) }

func sortedPrefixes(s []netip.Prefix) []netip.Prefix {
	return slices.Compact(slices.SortedFunc(slices.Values(s), netip.Prefix.Compare))
}

func sortedOpenings(s []Opening) []Opening {
	var list []Opening
	for _, o := range s {
		list = append(list, Opening{sortedPrefixes(o.From), sortedPrefixes(o.To), sortedSet(o.Ports)})
	}
	text := func(o Opening) string { return fmt.Sprint(o) }
	slices.SortFunc(list, func(a, b Opening) int { return cmp.Compare(text(a), text(b)) })
	return slices.CompactFunc(list, func(a, b Opening) bool { return text(a) == text(b) })
}
