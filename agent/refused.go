package agent

import (
	"sync"

	"github.com/ginnel/ginnel/agent/block"
)

// refusals is what of the refusals has been recorded; the manager counts them
// since its start.
type refusals struct {
	mu sync.Mutex
	of map[[2]string]uint64 // by network and rule
}

// news is what was refused since the last call, and was not before.
func (r *refusals) news(network, rule string, packets uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[[2]string]uint64{}
	}
	at := [2]string{network, rule}
	was := r.of[at]
	r.of[at] = packets
	return packets - min(was, packets)
}

// countRefused records what the networks' filters have refused since it was
// called last.
func (a *Agent) countRefused() {
	a.mu.Lock()
	kept := a.spool
	a.mu.Unlock()
	if kept == nil {
		return
	}
	seen := ""
	for _, t := range a.o.Tunnels.Status() {
		if t.Network == seen {
			continue // all tunnels of a network say the same
		}
		seen = t.Network
		for _, r := range t.Refused {
			if n := a.told.news(t.Network, r.Rule, r.Packets); n > 0 {
				a.kept(kept.Refused(block.Refused{Network: t.Network, Rule: r.Rule, Packets: n}))
			}
		}
	}
}
