package tunnels

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// KnownName is a name that the Spec dials.
type KnownName struct {
	Name      string
	Addresses []netip.Addr // the last good answer
	Asked     time.Time    // zero: not yet since the start
	Err       string       // of the last question; empty: it was answered
}

// Names tells of the names that the Spec dials, in order.
func (m *Manager) Names() []KnownName {
	m.init()
	m.names.mu.Lock()
	defer m.names.mu.Unlock()
	var list []KnownName
	for host, k := range m.names.known {
		list = append(list, KnownName{Name: host, Addresses: slices.Clone(k.addrs), Asked: k.asked, Err: k.err})
	}
	slices.SortFunc(list, func(a, b KnownName) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// dialled is the host names that the Spec dials; true for those of a hub that
// does not answer.
func (m *Manager) dialled() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := map[peerAt]time.Time{}
	for _, d := range m.seen.Devices {
		for _, p := range d.Peers {
			last[peerAt{d.Name, p.PublicKey}] = p.Seen.LastHandshake
		}
	}
	hosts := map[string]bool{}
	for _, n := range m.spec.Networks {
		for _, t := range n.Devices {
			for _, p := range t.Peers {
				// Without keepalive an old handshake may only mean silence.
				at, there := last[peerAt{t.Device, p.PublicKey}]
				silent := there && (at.IsZero() || p.Keepalive > 0 && time.Since(at) > liveFor)
				for _, e := range p.Endpoints {
					if host, _, ok := splitPort(e); ok {
						hosts[host] = hosts[host] || silent
					}
				}
			}
		}
	}
	return hosts
}
