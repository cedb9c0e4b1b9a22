package tunnels

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// sent is what we last wrote to a peer and may not be able to read back.
type sent struct {
	name      string // of the peer, while it was wanted
	preshared key.Preshared
	endpoint  netip.AddrPort
	look      int // the last one that had begun by then
}

// liveFor is how long after a handshake a session may carry traffic
// (REJECT_AFTER_TIME of the WireGuard paper, section 6.1).
const liveFor = 180 * time.Second

// wrote notes a step that succeeded. The caller holds m.mu.
func (m *Manager) wrote(s Step) {
	delete(m.last.pending, s.object())
	if s.Kind == FilterKind {
		m.wroteFilter(s.Filter.Table)
	}
	if s.Kind != PeerKind {
		return
	}
	at := peerAt{s.Device.Name, s.Peer.PublicKey}
	if s.Op == Remove {
		delete(m.sent, at)
		return
	}
	note := m.sent[at]
	note.look = m.looks
	if s.Op == Add || s.Fields.Preshared {
		note.preshared = s.Peer.PresharedKey
	}
	if s.Op == Add || s.Fields.Endpoint {
		note.endpoint = s.Peer.Endpoint
	}
	m.sent[at] = note
}

// remember completes what was observed: a device that never tells preshared
// keys has those that we gave it, and what stands as wanted counts as written
// by us. Peers that are gone are forgotten, but not those that a worker made while
// we looked. The caller holds m.mu.
func (m *Manager) remember(have *State, want State) {
	m.name(have)
	wanted := map[peerAt]*Peer{}
	for _, d := range want.Devices {
		for i := range d.Peers {
			wanted[peerAt{d.Name, d.Peers[i].PublicKey}] = &d.Peers[i]
		}
	}
	kept := make(map[peerAt]sent, len(m.sent))
	for _, d := range have.Devices {
		for i := range d.Peers {
			p := &d.Peers[i]
			at := peerAt{d.Name, p.PublicKey}
			note := m.sent[at]
			m.tells = m.tells || !p.PresharedKey.IsZero()
			if !m.tells {
				p.PresharedKey = note.preshared
			}
			w := wanted[at]
			if w == nil {
				w = &Peer{}
			}
			note.name = cmp.Or(w.Name, note.name)
			p.Name = note.name
			if p.Endpoint.IsValid() && (p.Endpoint == w.Endpoint || slices.Contains(w.Alternatives, p.Endpoint)) {
				note.endpoint = w.Endpoint
			}
			kept[at] = note
		}
	}
	for at, note := range m.sent {
		if _, seen := kept[at]; !seen && note.look == m.looks {
			kept[at] = note
		}
	}
	m.sent = kept
}

// name writes the networks' names to what was observed, where the last look
// knew them, so that the steps of a network that is no longer wanted bear its
// name. The caller holds m.mu.
func (m *Manager) name(have *State) {
	tables, links, filters := map[int]string{}, map[string]string{}, map[string]string{}
	for _, f := range m.seen.Filters {
		filters[f.Table] = f.Network
	}
	for _, r := range m.seen.Rules {
		note(tables, r.Table, r.Network)
	}
	for _, d := range m.seen.Devices {
		note(links, d.Name, d.Network)
	}
	for _, n := range m.spec.Networks {
		tables[n.Table], filters[FilterTable(n.Name)] = n.Name, n.Name
		for _, t := range n.Devices {
			links[t.Device] = n.Name
		}
	}
	for i, r := range have.Rules {
		have.Rules[i].Network = tables[r.Table]
	}
	for i, f := range have.Filters {
		have.Filters[i].Network = filters[f.Table]
	}
	for i, d := range have.Devices {
		have.Devices[i].Network = links[d.Name]
	}
}

// compared is what Plan gets: a peer that roamed is left alone while it is
// alive and its wanted endpoint is the one that we wrote. The caller holds m.mu.
func (m *Manager) compared(want, have State) (State, State) {
	there := map[peerAt]*Peer{}
	for _, d := range have.Devices {
		for i := range d.Peers {
			if d.Peers[i].Endpoint.IsValid() {
				there[peerAt{d.Name, d.Peers[i].PublicKey}] = &d.Peers[i]
			}
		}
	}
	for _, d := range want.Devices {
		for i := range d.Peers {
			p := &d.Peers[i]
			if !p.Endpoint.IsValid() {
				continue // it calls us, from wherever
			}
			at := peerAt{d.Name, p.PublicKey}
			if h := there[at]; h != nil && p.Endpoint == m.sent[at].endpoint && time.Since(h.Seen.LastHandshake) < liveFor {
				p.Alternatives = append(slices.Clip(p.Alternatives), h.Endpoint)
			}
		}
	}
	return want, have
}
