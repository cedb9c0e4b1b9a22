package tunnels

import (
	"net/netip"
	"slices"
	"strconv"
)

// place is what no two routes have in common. It is one run of bytes, without
// pointers: of these a big hub has tens of thousands in a map.
type place struct {
	addr          [16]byte
	family, bits  uint16
	table, metric uint32
}

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

func (r Route) order() string {
	return strconv.Itoa(r.Table) + " " + r.Prefix.String() + " " + strconv.Itoa(r.Metric)
}

// allRoutes keeps the routes that are there as wanted, replaces those that are
// there otherwise in one write, adds and removes the rest.
func (p *planner) allRoutes() {
	wanted := newIndex(len(p.want.Routes))
	find := func(r *Route) int {
		return wanted.find(r.hash(), func(at int) bool { return samePlace(r, &p.want.Routes[at]) })
	}
	for i := range p.want.Routes {
		wanted.put(p.want.Routes[i].hash(), i)
	}
	kept, other := make([]bool, len(p.want.Routes)), map[int]Route{}
	var extra []Route
	for i := range p.have.Routes {
		h := &p.have.Routes[i]
		at := find(h)
		_, another := other[at]
		switch {
		case at >= 0 && sameRoute(h, &p.want.Routes[at]):
			kept[at] = true
		case at >= 0 && !another:
			other[at] = *h
		default:
			extra = append(extra, *h)
		}
	}
	missing := 0
	for _, k := range kept {
		if !k {
			missing++
		}
	}
	p.steps = slices.Grow(p.steps, missing)
	for i := range kept {
		if !kept[i] && find(&p.want.Routes[i]) == i {
			p.route(p.want.Routes[i], i, other)
		}
	}
	for _, h := range other { // a second one beside the one that is kept
		extra = append(extra, h)
	}
	p.removeRoutes(extra)
}

func samePlace(a, b *Route) bool {
	return a.Prefix == b.Prefix && a.Table == b.Table && a.Metric == b.Metric
}

// sameRoute is true whatever the network's name.
func sameRoute(h, w *Route) bool {
	return h.Device == w.Device && h.Unreachable == w.Unreachable && h.Source == w.Source
}

// route plans one that is not there as wanted: in the place of another, or anew.
func (p *planner) route(w Route, at int, other map[int]Route) {
	s := Step{Network: w.Network, Op: Add, Kind: RouteKind, Text: routeText(w), Route: new(w)}
	if h, ok := other[at]; ok {
		s.Op, s.Text = Change, routeChange(h, w)
		delete(other, at)
	}
	p.add(w.phase(), w.order(), s)
}

func (p *planner) removeRoutes(extra []Route) {
	if len(extra) == 0 {
		return
	}
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
