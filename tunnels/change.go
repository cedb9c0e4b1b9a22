package tunnels

import (
	"context"
	"fmt"
	"time"
)

// Change says which steps lead from what is wanted now to spec, and writes
// nothing. What somebody else has changed on the host meanwhile is not among
// them: it is what a change of config touches, not what there is to be done.
func (m *Manager) Change(ctx context.Context, spec Spec) ([]Step, error) {
	m.init()
	m.names.load()
	hosts := map[string]bool{}
	for _, n := range spec.Networks {
		for _, t := range n.Devices {
			for _, p := range t.Peers {
				for _, e := range p.Endpoints {
					if host, _, ok := splitPort(e); ok {
						hosts[host] = false
					}
				}
			}
		}
	}
	m.names.askOnce(ctx, 3*time.Second, hosts)
	m.mu.Lock()
	former, ports := m.spec, m.ports(State{})
	m.mu.Unlock()
	var states [2]State
	for i, s := range []Spec{former, spec} {
		facts, err := m.Host.Facts(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("reading facts of the host: %w", err)
		}
		facts.Ports = ports
		states[i], _ = Want(s, facts, m.names.endpoints)
	}
	for i := range states[0].Devices { // as an observed one has it
		d := &states[0].Devices[i]
		d.PublicKey = d.PrivateKey.Public()
	}
	for i := range states[0].Filters {
		f := &states[0].Filters[i]
		f.Digest = f.Sum()
	}
	return Plan(states[1], states[0]), nil
}
