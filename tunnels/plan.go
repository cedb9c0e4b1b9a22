package tunnels

import (
	"cmp"
	"net/netip"
	"slices"
)

// Plan returns the smallest list of steps that turns have into want, in the
// order in which they are to be taken: what refuses comes first (filters,
// unreachable routes, rules), then what carries (settings, devices, addresses,
// peers, routes, endpoints), network by network; what goes, goes last and in
// the reverse order. So at no moment does traffic of a network leave around it,
// and a route is moved by one write. A peer of a device that is there takes its
// routes with it, see fold.
//
// Plan(x, x) is empty. Names, counters and alternatives are not compared, nor
// is a port of 0 or a key that want does not have. What goes with its link is
// not removed by itself: the routes, addresses and settings of a device that is
// removed.
func Plan(want, have State) []Step {
	list := plan(want, have)
	if len(list) == 0 {
		return nil
	}
	steps := make([]Step, len(list))
	for i := range list {
		steps[i] = list[i].Step
	}
	return steps
}

// plan is Plan with the place of each step.
func plan(want, have State) []planned {
	p := &planner{want: want, have: have}
	p.attribute()
	p.filters()
	p.allRoutes()
	p.rules()
	p.settings()
	p.devices()
	p.leaveRenamed()
	p.fold()
	return inOrder(p.steps)
}

// inOrder sorts steps. They are big, and may be many: none is moved twice.
func inOrder(steps []planned) []planned {
	at := make([]*planned, len(steps))
	for i := range steps {
		at[i] = &steps[i]
	}
	slices.SortStableFunc(at, func(a, b *planned) int {
		return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.Network, b.Network),
			cmp.Compare(a.phase, b.phase), cmp.Compare(a.order, b.order))
	})
	sorted := make([]planned, len(steps))
	for i, s := range at {
		sorted[i] = *s
		sorted[i].Text = clip(s.Text)
	}
	return sorted
}

// planned is a Step and its place.
type planned struct {
	Step
	round round
	phase phase
	order string // among steps of one phase

	repair bool // undoes what somebody else did; see Manager.repairs
	held   bool // one of those that has to wait

	comes, goes []netip.Prefix // what a peer's step makes its device accept, or accept no more
}

// A round is all that has to be done before the next one begins.
type round int

const (
	first round = iota // a removal that an addition waits for
	additions
	removals
)

// phase is the place of a step in its round.
type phase int

const (
	namePhase phase = iota
	filterPhase
	refusePhase
	rulePhase
	settingPhase
	devicePhase
	deviceSettingPhase
	addressPhase
	peerPhase
	routePhase
	endpointPhase
	lastPhase
)

type planner struct {
	want, have State
	steps      []planned
	tables     map[int]string    // network by routing table
	links      map[string]string // network by device
	renamed    []Device          // by somebody else, and wanted
}

// add plans a step that adds or changes.
func (p *planner) add(phase phase, order string, s Step) {
	p.steps = append(p.steps, planned{Step: s, round: additions, phase: phase, order: order})
}

// remove plans a step that takes away, in the reverse order of phases.
func (p *planner) remove(phase phase, order string, s Step) {
	p.steps = append(p.steps, planned{Step: s, round: removals, phase: lastPhase - phase, order: order})
}

// last is the step that was planned last.
func (p *planner) last() *planned { return &p.steps[len(p.steps)-1] }

// attribute finds out which network an observed object belongs to, by its
// table or link: objects on the host do not carry the name.
func (p *planner) attribute() {
	p.tables, p.links = map[int]string{}, map[string]string{}
	for _, s := range []*State{&p.have, &p.want} { // what is wanted knows better
		for _, r := range s.Rules {
			note(p.tables, r.Table, r.Network)
		}
		for i := range s.Routes { // many of one table
			if r := &s.Routes[i]; i == 0 || r.Table != s.Routes[i-1].Table || r.Network != s.Routes[i-1].Network {
				note(p.tables, r.Table, r.Network)
			}
		}
		for _, d := range s.Devices {
			note(p.links, d.Name, d.Network)
		}
	}
	for i := range p.have.Routes {
		r := &p.have.Routes[i]
		if i > 0 && r.Device == p.have.Routes[i-1].Device && r.Table == p.have.Routes[i-1].Table {
			continue
		}
		if p.links[r.Device] == "" && r.Device != "" {
			note(p.links, r.Device, p.tables[r.Table])
		}
	}
}

// note keeps a network's name if there is one.
func note[K comparable](m map[K]string, k K, network string) {
	if network != "" {
		m[k] = network
	}
}

func (p *planner) filters() {
	have := map[string]Filter{}
	for _, f := range p.have.Filters {
		have[f.Table] = f
	}
	for _, f := range p.want.Filters {
		f.Digest = cmp.Or(f.Digest, f.Sum())
		s := Step{Network: f.Network, Op: Add, Kind: FilterKind, Text: filterText(f), Filter: new(f)}
		h, ok := have[f.Table]
		delete(have, f.Table)
		switch {
		case !ok:
			p.add(filterPhase, f.Table, s)
		case h.Digest != f.Digest:
			s.Op, s.Text = Change, filterChange(f)
			p.add(filterPhase, f.Table, s)
		}
	}
	for _, f := range have {
		p.remove(filterPhase, f.Table, Step{Network: f.Network, Op: Remove, Kind: FilterKind, Text: f.Table, Filter: new(f)})
	}
}

func (p *planner) rules() {
	have := map[Rule]bool{}
	for _, r := range p.have.Rules {
		r.Network = ""
		have[r] = true
	}
	for _, r := range p.want.Rules {
		bare := r
		bare.Network = ""
		if !have[bare] {
			p.add(rulePhase, ruleOrder(r), Step{Network: r.Network, Op: Add, Kind: RuleKind, Text: ruleText(r), Rule: new(r)})
		}
		have[bare] = false
	}
	for r, extra := range have {
		if extra {
			r.Network = p.tables[r.Table]
			p.remove(rulePhase, ruleOrder(r), Step{Network: r.Network, Op: Remove, Kind: RuleKind, Text: ruleText(r), Rule: new(r)})
		}
	}
}

func (p *planner) settings() {
	have := map[string]Setting{}
	for _, s := range p.have.Settings {
		have[s.Path] = s
	}
	for _, s := range p.want.Settings {
		h, ok := have[s.Path]
		delete(have, s.Path)
		if ok && h.Value == s.Value {
			continue
		}
		phase := settingPhase
		if ofDevice(s, p.want.Devices) {
			phase = deviceSettingPhase
		}
		step := Step{Network: s.Network, Op: Add, Kind: SettingKind, Text: settingText(s), Setting: new(s)}
		if ok {
			step.Op = Change
		}
		p.add(phase, settingOrder(s), step)
	}
	for _, s := range have {
		if ofDevice(s, p.have.Devices) && !ofDevice(s, p.want.Devices) {
			continue // goes with its link
		}
		p.remove(settingPhase, reverse(settingOrder(s)), Step{Network: p.links[s.link()], Op: Remove, Kind: SettingKind,
			Text: settingText(s) + ": put back", Setting: new(s)})
	}
}

// settingOrder puts the one switch for all of IPv6 behind the per-link ones that
// make it harmless.
func settingOrder(s Setting) string {
	if s.Path == allForwarding6 {
		return "1" + s.Path
	}
	return "0" + s.Path
}

// reverse turns settingOrder round for removals.
func reverse(order string) string {
	if order[0] == '1' {
		return "0" + order[1:]
	}
	return "1" + order[1:]
}
