package tunnels

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// Status is one wanted tunnel (a network's device) as it was last seen.
type Status struct {
	Network   string
	Role      Role
	Hub       string // empty in the hub role
	Device    string
	Present   bool // the device is there
	Up        bool
	Backend   string // "kernel" or "userspace"
	MTU       int
	Port      int        // UDP
	PublicKey key.Public // ours
	Addresses []netip.Prefix
	Peers     []PeerStatus // those wanted, in order of the Spec
	Observed  time.Time    // when; zero: not yet

	// Of the whole network:
	Err   string    // of the last step that failed; empty: all is as wanted or in hand
	Kind  Kind      // of that step
	What  string    // its text
	Hint  string    // what to do about Err; may be empty
	Since time.Time // of Err
	Steps int       // written since the start

	Refused   []Refusal // since the start, by rule; never less than before
	Contested []Contest // what somebody else keeps changing
	Lacks     []Problem // what of it cannot be had on this host
}

// Contest is an object of ours that somebody else keeps changing or removing.
// It is put back ever more slowly until they cease.
type Contest struct {
	Kind    Kind
	Text    string    // the object, as a Step has it
	Since   time.Time // of the first time
	Times   int
	Culprit string // who it is likely to be, in words; empty: nobody to name
}

// PeerStatus is one peer of a tunnel.
type PeerStatus struct {
	Name       string
	PublicKey  key.Public
	Present    bool
	Endpoint   netip.AddrPort // in use; zero: unknown, or it has not called yet
	Keepalive  time.Duration  // as the device has it; 0: none
	AllowedIPs []netip.Prefix
	Seen
}

// Status tells of each tunnel of the Spec, in its order, as it was seen at the
// last look: at most a poll ago while Run runs. Its peers are shared with other
// callers, and not to be changed.
func (m *Manager) Status() []Status {
	m.init()
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Status
	for _, n := range m.spec.Networks {
		for _, t := range n.Devices {
			s := Status{Network: n.Name, Role: n.Role, Hub: t.Hub, Device: t.Device, Observed: m.seenAt,
				PublicKey: t.PrivateKey.Public(), Addresses: slices.Clone(n.Addresses)}
			if s.Role == "" {
				s.Role = Site
			}
			if c := m.networks[n.Name]; c != nil {
				s.Err, s.Kind, s.What, s.Hint, s.Since, s.Steps = c.err, c.kind, c.what, c.hint, c.since, c.steps
			}
			s.Refused = m.refusedBy(n.Name)
			s.Contested = m.fights.contests(n.Name)
			s.Lacks = m.lacks(n.Name)
			m.observed(&s, t)
			list = append(list, s)
		}
	}
	return list
}

// Fault is why the host could not be read at the last look; nil: it was.
func (m *Manager) Fault() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

// lacks is what of a network could not be had at the last look. The caller holds
// m.mu.
func (m *Manager) lacks(network string) (list []Problem) {
	for _, p := range m.problems {
		if p.Network == network {
			list = append(list, p)
		}
	}
	return list
}

// observed fills in what the last look saw. The caller holds m.mu.
func (m *Manager) observed(s *Status, t Tunnel) {
	var d Device
	if i := slices.IndexFunc(m.seen.Devices, func(d Device) bool { return d.Name == t.Device }); i >= 0 {
		d = m.seen.Devices[i]
		s.Present, s.Up, s.Backend, s.MTU, s.Port = true, d.Up, d.Backend, d.MTU, d.ListenPort
	}
	peers, ok := m.shown[t.Device]
	if !ok {
		peers = peerStatuses(t, d)
		m.shown[t.Device] = peers
	}
	s.Peers = peers
}

// peerStatuses is made once for each look: a big hub has thousands.
func peerStatuses(t Tunnel, d Device) []PeerStatus {
	seen := newIndex(len(d.Peers))
	for i := range d.Peers {
		seen.put(hashKey(d.Peers[i].PublicKey), i)
	}
	list := make([]PeerStatus, 0, len(t.Peers))
	for i := range t.Peers {
		w := &t.Peers[i]
		p := PeerStatus{Name: w.Name, PublicKey: w.PublicKey}
		at := seen.find(hashKey(w.PublicKey), func(at int) bool { return d.Peers[at].PublicKey == w.PublicKey })
		if at >= 0 {
			h := &d.Peers[at]
			p.Present, p.Endpoint, p.Keepalive, p.AllowedIPs, p.Seen = true, h.Endpoint, h.Keepalive, h.AllowedIPs, h.Seen
		}
		list = append(list, p)
	}
	return list
}
