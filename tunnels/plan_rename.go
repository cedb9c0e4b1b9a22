package tunnels

import (
	"fmt"
	"slices"
)

// nameBack plans that a device that somebody renamed gets its name again, before
// all else of its network.
func (p *planner) nameBack(w, h Device) {
	w.Found = h.Found
	p.add(namePhase, w.Name, Step{Network: w.Network, Op: Change, Kind: DeviceKind, Device: new(w),
		Text: fmt.Sprintf("%s is called %s here; named back", w.Name, h.Found)})
	p.renamed = append(p.renamed, h)
}

// leaveRenamed drops what else was planned for such devices: under its other name
// a link has all that it had. What it lacks is seen when it is named back.
func (p *planner) leaveRenamed() {
	for _, h := range p.renamed {
		p.steps = slices.DeleteFunc(p.steps, func(s planned) bool {
			link := ""
			switch {
			case s.Device != nil && s.phase != namePhase:
				link = s.Device.Name
			case s.Route != nil:
				link = s.Route.Device
			case s.Setting != nil:
				link = s.Setting.link()
			}
			return link != "" && (link == h.Name || link == h.Found)
		})
	}
}
