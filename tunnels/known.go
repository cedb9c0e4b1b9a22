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

// Fault is why the host could not be read at the last look; nil: it was.
func (m *Manager) Fault() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}
