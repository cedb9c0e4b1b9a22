package tunnels

import (
	"fmt"
	"net/netip"
)

// place is what no two routes have in common. It is one run of bytes, without
// pointers: of these a big hub has tens of thousands in a map.
type place struct {
	addr          [16]byte
	family, bits  uint16
	table, metric uint32
}

func (r Route) place() place { return placeOf(r.Table, r.Prefix, r.Metric) }

func placeOf(table int, prefix netip.Prefix, metric int) place {
	a := prefix.Addr()
	return place{addr: a.As16(), family: uint16(a.BitLen()), bits: uint16(prefix.Bits()), table: uint32(table), metric: uint32(metric)}
}

func (r Route) phase() phase {
	if r.Unreachable {
		return refusePhase
	}
	return routePhase
}

func (r Route) order() string { return fmt.Sprintf("%d %v %d", r.Table, r.Prefix, r.Metric) }

// allRoutes keeps the routes that are there as wanted, replaces those that are
// there otherwise in one write, adds and removes the rest.
func (p *planner) allRoutes() {
	wanted := make(map[place]int, len(p.want.Routes)) // the last one of a place
	for i := range p.want.Routes {
		wanted[p.want.Routes[i].place()] = i
	}
	kept, other := make([]bool, len(p.want.Routes)), map[place]Route{}
	var extra []Route
	for _, h := range p.have.Routes {
		i, ok := wanted[h.place()]
		if ok {
			h.Network = p.want.Routes[i].Network
		}
		switch {
		case ok && h == p.want.Routes[i]:
			kept[i] = true
		case ok && other[h.place()] == Route{}:
			other[h.place()] = h
		default:
			extra = append(extra, h)
		}
	}
	for i, w := range p.want.Routes {
		if kept[i] || wanted[w.place()] != i {
			continue
		}
		s := Step{Network: w.Network, Op: Add, Kind: RouteKind, Text: routeText(w), Route: new(w)}
		if h, ok := other[w.place()]; ok {
			s.Op, s.Text = Change, routeChange(h, w)
			delete(other, w.place())
		}
		p.add(w.phase(), w.order(), s)
	}
	for _, h := range other { // a second one beside the one that is kept
		extra = append(extra, h)
	}
	p.removeRoutes(extra)
}

func (p *planner) removeRoutes(extra []Route) {
	wanted, there := map[string]bool{}, map[string]bool{}
	for _, d := range p.want.Devices {
		wanted[d.Name] = true
	}
	for _, d := range p.have.Devices {
		there[d.Name] = true
	}
	for _, h := range extra {
		if there[h.Device] && !wanted[h.Device] {
			continue // goes with its link
		}
		h.Network = p.tables[h.Table]
		p.remove(h.phase(), h.order()+h.Device, Step{Network: h.Network, Op: Remove, Kind: RouteKind, Text: routeText(h), Route: new(h)})
	}
}
