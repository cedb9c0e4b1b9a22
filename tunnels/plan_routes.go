package tunnels

import (
	"fmt"
	"net/netip"
)

// place is what no two routes have in common.
type place struct {
	table  int
	prefix netip.Prefix
	metric int
}

func (r Route) place() place { return place{r.Table, r.Prefix, r.Metric} }

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
	wanted := map[place]Route{}
	for _, r := range p.want.Routes {
		wanted[r.place()] = r
	}
	kept, other := map[place]bool{}, map[place]Route{}
	var extra []Route
	for _, h := range p.have.Routes {
		w, ok := wanted[h.place()]
		h.Network = w.Network
		switch {
		case ok && h == w:
			kept[h.place()] = true
		case ok && other[h.place()] == Route{}:
			other[h.place()] = h
		default:
			extra = append(extra, h)
		}
	}
	for at, w := range wanted {
		if kept[at] {
			continue
		}
		s := Step{Network: w.Network, Op: Add, Kind: RouteKind, Text: routeText(w), Route: new(w)}
		if h, ok := other[at]; ok {
			s.Op, s.Text = Change, routeChange(h, w)
			delete(other, at)
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
