package tunnels

import (
	"maps"
	"slices"
	"time"
)

// sign is what came from beyond a device that was said to be dead.
type sign struct {
	received int64     // bytes, as of the last look
	looked   bool      // there was one since it was said
	life     time.Time // when something came last; zero: nothing has
}

// Dead says that a device leads nowhere just now, or that it does again. What
// would go through it is refused meanwhile, but for its hub's own address, unless
// something has come from the hub since: one that sends is alive, whatever it
// fails to answer. Of devices that nobody spoke of it is not so.
func (m *Manager) Dead(device string, dead bool) {
	m.init()
	m.mu.Lock()
	_, was := m.dead[device]
	if dead && !was {
		m.dead[device] = sign{}
	} else if !dead {
		delete(m.dead, device)
	}
	m.mu.Unlock()
	if was != dead {
		poke(m.asked)
	}
}

// deadOf is the devices that were said to be dead and show no sign of life. The
// caller holds m.mu.
func (m *Manager) deadOf(have State) map[string]bool {
	received := map[string]int64{}
	for _, d := range have.Devices {
		for _, p := range d.Peers {
			received[d.Name] += p.Seen.Received
		}
	}
	dead := map[string]bool{}
	for device, s := range m.dead {
		if s.looked && received[device] > s.received {
			s.life = time.Now()
		}
		s.received, s.looked = received[device], true
		m.dead[device] = s
		dead[device] = time.Since(s.life) > liveFor
	}
	return dead
}

// forgetDead forgets what was said of devices that are not in the Spec: should one
// come back, it is another. The caller holds m.mu.
func (m *Manager) forgetDead() {
	maps.DeleteFunc(m.dead, func(device string, _ sign) bool {
		return !slices.ContainsFunc(m.spec.Networks, func(n Network) bool {
			return slices.ContainsFunc(n.Devices, func(t Tunnel) bool { return t.Device == device })
		})
	})
}
