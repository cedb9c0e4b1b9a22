package tunnels

import (
	"fmt"
	"net/netip"

	"github.com/ginnel/ginnel/tunnels/key"
)

// heirs finds the peers that are on a device under another key than is wanted:
// by name, or where the name of what is there is not known, by the address that
// is the peer's own.
type heirs struct {
	byName    map[string]Peer
	byAddress map[netip.Prefix]Peer
}

func heirsOf(gone map[key.Public]Peer) heirs {
	h := heirs{map[string]Peer{}, map[netip.Prefix]Peer{}}
	for _, former := range gone {
		if former.Name != "" {
			h.byName[former.Name] = former
		} else if own, ok := OwnAddress(former.AllowedIPs); ok {
			h.byAddress[own] = former
		}
	}
	return h
}

// of is the peer that a new one takes the place of. None where a third peer gets
// a prefix of it: that has to be moved before the old one goes.
func (h heirs) of(peer Peer, owner map[netip.Prefix]key.Public) (former Peer, ok bool) {
	if former, ok = h.byName[peer.Name]; !ok {
		own, _ := OwnAddress(peer.AllowedIPs)
		if former, ok = h.byAddress[own]; !ok {
			return Peer{}, false
		}
	}
	for _, a := range former.AllowedIPs {
		if by, wanted := owner[a]; wanted && by != peer.PublicKey {
			return Peer{}, false
		}
	}
	return former, true
}

// rekey makes the peer under its new key, which takes the prefixes over without
// a gap, and then ends the old one.
func (p *planner) rekey(w Device, peer, former Peer) {
	text := fmt.Sprintf("%s key %s -> %s on %s", peer.Name, short(former.PublicKey), short(peer.PublicKey), w.Name)
	former.Name = peer.Name
	s := p.peer(peerPhase, w, peer, PeerFields{Make: true, Endpoint: peer.Endpoint.IsValid(), Keepalive: peer.Keepalive > 0,
		Preshared: !peer.PresharedKey.IsZero(), AddIPs: true}, Change, text)
	s.Cuts = true
	s.After = []Step{removal(w, former)}
	s.comes = without(peer.AllowedIPs, former.AllowedIPs)
	s.goes = without(former.AllowedIPs, peer.AllowedIPs)
}
