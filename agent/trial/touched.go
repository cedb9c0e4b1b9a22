package trial

import (
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/tunnels"
)

// Touched names what a change touches: "network/hub" for a tunnel of a site,
// "network/site" for a site of a hub, and "network" for what all sites of a hub
// share (its device, its addresses, the network's rules and filter). A tunnel of
// a site is also touched by what its network's tunnels share. steps lead from
// former to next, as tunnels.Manager.Change has them.
func Touched(steps []tunnels.Step, former, next tunnels.Spec) map[string]bool {
	t := touch{touched: map[string]bool{}}
	for _, s := range []tunnels.Spec{former, next} {
		for _, n := range s.Networks {
			for _, d := range n.Devices {
				t.tunnels = append(t.tunnels, tunnel{n, d})
			}
		}
	}
	for _, s := range steps {
		for _, w := range s.Writes() {
			t.step(w)
		}
	}
	t.endpoints()
	return t.touched
}

// PartName names a tunnel, or a site of a hub; who is empty for what all sites
// of a hub share.
func PartName(network, who string) string {
	if who == "" {
		return network
	}
	return network + "/" + who
}

type tunnel struct {
	network tunnels.Network
	tunnels.Tunnel
}

// touch is what is being found.
type touch struct {
	tunnels []tunnel // of both specs
	touched map[string]bool
}

func (t *touch) step(s tunnels.Step) {
	switch {
	case s.Kind == tunnels.PeerKind:
		t.peer(s.Device.Name, s.Peer.Name)
	case s.Route != nil:
		t.route(s.Route)
	case s.Rule != nil && t.device(s.Rule.Iif, s.Rule.Oif):
	case s.Device != nil && t.device(s.Device.Name):
	default: // a filter, a setting, the rule of a prefix
		t.network(s.Network)
	}
}

// network touches all of a network; empty: of all networks.
func (t *touch) network(name string) {
	for _, u := range t.tunnels {
		if name == "" || u.network.Name == name {
			t.touched[PartName(u.network.Name, u.Hub)] = true
		}
	}
}

// device touches the tunnels of devices; false: none of them is ours.
func (t *touch) device(names ...string) (ours bool) {
	for _, u := range t.tunnels {
		if slices.Contains(names, u.Device) {
			t.touched[PartName(u.network.Name, u.Hub)], ours = true, true
		}
	}
	return ours
}

// peer touches a tunnel to a hub, or one site of a hub.
func (t *touch) peer(device, name string) {
	for _, u := range t.tunnels {
		switch {
		case u.Device != device:
		case u.Hub != "":
			t.touched[PartName(u.network.Name, u.Hub)] = true
		default:
			t.touched[PartName(u.network.Name, name)] = true
		}
	}
}

// route touches whoever accepts its prefix.
func (t *touch) route(r *tunnels.Route) {
	for _, u := range t.tunnels {
		if u.network.Table != r.Table {
			continue
		}
		for _, p := range u.Peers {
			if slices.ContainsFunc(p.AllowedIPs, func(a netip.Prefix) bool { return a == r.Prefix }) {
				t.peer(u.Device, p.Name)
			}
		}
	}
}

// endpoints touches the peers whose endpoints are others: a name that is not
// known yet makes no step.
func (t *touch) endpoints() {
	type at struct{ device, peer string }
	seen := map[at][]string{}
	for _, u := range t.tunnels {
		for _, p := range u.Peers {
			was, ok := seen[at{u.Device, p.Name}]
			if ok && !slices.Equal(was, p.Endpoints) {
				t.peer(u.Device, p.Name)
			}
			seen[at{u.Device, p.Name}] = p.Endpoints
		}
	}
}
