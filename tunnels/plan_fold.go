package tunnels

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// fold has the routes of a peer that comes, changes or goes taken with the step
// of that peer: a site more at a hub is one step. What refuses still comes
// before what carries, and goes after it. At a device that is being made the
// routes stay for themselves, and where the network's rules change too: what
// refuses has to be there before the first rule, and after the last.
func (p *planner) fold() {
	f := folding{planner: p, brings: map[lead]int{}, drops: map[lead]int{}, with: map[int]int{}}
	f.peers()
	if len(f.brings)+len(f.drops) == 0 {
		return
	}
	f.carrying()
	f.refusing()
	f.join()
}

// lead is what a peer's prefix leads to: a device, or with none the table of a
// network.
type lead struct {
	network, device string
	prefix          netip.Prefix
}

// folding finds by index which peer step each route step goes with.
type folding struct {
	*planner
	brings, drops map[lead]int // peer step by the prefix that it brings or drops
	with          map[int]int  // peer step by route step
}

// peers lists what the peer steps bring and drop, by device and by network.
func (f *folding) peers() {
	ruled, there := map[string]bool{}, map[string]bool{}
	for _, s := range f.steps {
		ruled[s.Network] = ruled[s.Network] || s.Kind == RuleKind
	}
	for _, d := range f.have.Devices {
		there[d.Name] = true
	}
	for i, s := range f.steps {
		if s.Kind != PeerKind || ruled[s.Network] || !there[s.Device.Name] {
			continue
		}
		for _, a := range s.comes {
			f.brings[lead{s.Network, s.Device.Name, a}], f.brings[lead{s.Network, "", a}] = i, i
		}
		for _, a := range s.goes {
			f.drops[lead{s.Network, s.Device.Name, a}], f.drops[lead{s.Network, "", a}] = i, i
		}
	}
}

// carrying finds the peers of the routes into devices.
func (f *folding) carrying() {
	for i, s := range f.steps {
		if s.Kind != RouteKind || s.Route.Unreachable {
			continue
		}
		peers := f.brings
		if s.Op == Remove {
			peers = f.drops
		}
		if j, ok := peers[lead{s.Network, s.Route.Device, s.Route.Prefix}]; ok {
			f.with[i] = j
		}
	}
}

// refusing finds the peers of the routes that refuse: each goes with the route
// that it stands behind. One that is removed stays by itself while anything else
// may still lead where it refuses.
func (f *folding) refusing() {
	behind := map[place][]int{} // peer steps of the carrying routes; alone: none
	for i, s := range f.steps {
		if s.Kind == RouteKind && !s.Route.Unreachable {
			j, ok := f.with[i]
			if !ok {
				j = alone
			}
			behind[s.Route.refusal()] = append(behind[s.Route.refusal()], j)
		}
	}
	carrying := f.carryingNow()
	for i, s := range f.steps {
		if s.Kind != RouteKind || !s.Route.Unreachable || s.Op == Change {
			continue
		}
		peers := f.brings
		if s.Op == Remove {
			peers = f.drops
		}
		j, ok := peers[lead{s.Network, "", s.Route.Prefix}]
		with := behind[s.Route.refusal()]
		if len(with) > 0 {
			j, ok = with[0], with[0] != alone && slices.Max(with) == slices.Min(with)
		}
		if ok && (s.Op == Add || len(with) == carrying[s.Route.refusal()]) {
			f.with[i] = j
		}
	}
}

const alone = -1

// refusal is where the route that refuses behind r is looked for.
func (r Route) refusal() place { return placeOf(r.Table, r.Prefix, UnreachableMetric) }

// carryingNow counts the routes into devices where refusing ones are removed.
func (f *folding) carryingNow() map[place]int {
	n := map[place]int{}
	for _, s := range f.steps {
		if s.Kind == RouteKind && s.Route.Unreachable && s.Op == Remove {
			n[s.Route.refusal()] = 0
		}
	}
	if len(n) == 0 {
		return nil
	}
	for _, h := range f.have.Routes {
		if _, asked := n[h.refusal()]; asked && !h.Unreachable {
			n[h.refusal()]++
		}
	}
	return n
}

// join moves the route steps into those of their peers.
func (f *folding) join() {
	for _, i := range slices.SortedFunc(maps.Keys(f.with), func(a, b int) int {
		return cmp.Compare(f.steps[a].order, f.steps[b].order)
	}) {
		r, peer := f.steps[i].Step, &f.steps[f.with[i]]
		r.Text = clip(r.Text)
		if (r.Op == Remove) == r.Route.Unreachable || r.Op == Change {
			peer.After = append(peer.After, r)
		} else {
			peer.Before = append(peer.Before, r)
		}
	}
	for i := range f.steps {
		s := &f.steps[i]
		carryingFirst := func(a, b Step) int { return cmp.Compare(refuses(a), refuses(b)) }
		slices.SortStableFunc(s.Before, carryingFirst)
		slices.SortStableFunc(s.After, carryingFirst)
		if n := len(s.Prefixes()); n > 0 && s.Op != Change {
			s.Text += fmt.Sprintf(", %d prefix%s", n, map[bool]string{true: "es"}[n > 1])
		}
	}
	kept := f.steps[:0]
	for i, s := range f.steps {
		if _, folded := f.with[i]; !folded {
			kept = append(kept, s)
		}
	}
	f.planner.steps = kept
}

func refuses(s Step) int {
	if s.Route != nil && s.Route.Unreachable {
		return 1
	}
	return 0
}

// Writes are the single writes of a step, in order.
func (s Step) Writes() []Step {
	own := s
	own.Before, own.After = nil, nil
	return slices.Concat(s.Before, []Step{own}, s.After)
}

// Prefixes are those whose routes are taken with a peer, in order.
func (s Step) Prefixes() []netip.Prefix {
	var list []netip.Prefix
	for _, r := range slices.Concat(s.Before, s.After) {
		if r.Route != nil {
			list = append(list, r.Route.Prefix)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}
