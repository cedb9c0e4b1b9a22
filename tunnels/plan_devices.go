package tunnels

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/tunnels/key"
)

func (p *planner) devices() {
	have := map[string]Device{}
	for _, d := range p.have.Devices {
		have[d.Name] = d
	}
	needed := map[int]string{} // ports that this plan opens, by whom
	for _, w := range p.want.Devices {
		if w.ListenPort != have[w.Name].ListenPort {
			needed[w.ListenPort] = w.Name
		}
	}
	delete(needed, 0)
	for _, w := range p.want.Devices {
		h, ok := have[w.Name]
		delete(have, w.Name)
		if h.Found != "" {
			p.nameBack(w, h)
			continue
		}
		if ok {
			p.device(w, h, needed)
		} else {
			h = Device{Name: w.Name}
			p.add(devicePhase, w.Name, Step{Network: w.Network, Op: Add, Kind: DeviceKind, Text: deviceText(w), Device: new(w)})
		}
		p.addresses(w, h)
		p.peers(w, h)
	}
	for _, h := range have {
		h.Network = p.links[h.Name]
		p.remove(devicePhase, h.Name, Step{Network: h.Network, Op: Remove, Kind: DeviceKind, Cuts: true, Text: h.Name, Device: new(h)})
		if needed[h.ListenPort] != "" {
			p.last().round = first
		}
	}
}

// device plans the changes of a link that is there. It leaves a port that
// another device needs before that one comes for it.
func (p *planner) device(w, h Device, needed map[int]string) {
	change := func(kind Kind, cuts bool, format string, args ...any) {
		p.add(devicePhase, w.Name+string(kind), Step{Network: w.Network, Op: Change, Kind: kind, Cuts: cuts,
			Text: w.Name + " " + fmt.Sprintf(format, args...), Device: new(w)})
	}
	public := w.PublicKey
	if public.IsZero() {
		public = w.PrivateKey.Public()
	}
	if !public.IsZero() && public != h.PublicKey {
		change(KeyKind, !h.PublicKey.IsZero(), "public key %s -> %s", short(h.PublicKey), short(public))
	}
	if by := needed[h.ListenPort]; by != "" && by != w.Name {
		free := w
		free.ListenPort = 0
		p.steps = append(p.steps, planned{round: first, order: w.Name, Step: Step{Network: w.Network, Op: Change, Kind: PortKind,
			Cuts: true, Text: fmt.Sprintf("%s UDP %d -> any", w.Name, h.ListenPort), Device: new(free)}})
	}
	if w.ListenPort != 0 && w.ListenPort != h.ListenPort {
		change(PortKind, true, "UDP %d -> %d", h.ListenPort, w.ListenPort)
	}
	if w.MTU != h.MTU {
		change(MTUKind, false, "%d -> %d", h.MTU, w.MTU)
	}
	switch {
	case w.Up && !h.Up:
		change(DeviceKind, false, "up")
	case h.Untagged: // we ended between making it and tagging it
		change(DeviceKind, false, "is not tagged as ours")
	}
}

func (p *planner) addresses(w, h Device) {
	for _, a := range w.Addresses {
		if !slices.Contains(h.Addresses, a) {
			p.add(addressPhase, w.Name+a.String(), Step{Network: w.Network, Op: Add, Kind: AddressKind,
				Text: fmt.Sprintf("%v dev %s", a, w.Name), Device: new(w), Address: a.String()})
		}
	}
	for _, a := range h.Addresses {
		// Linux gives a link its IPv6 link-local address by itself.
		if !slices.Contains(w.Addresses, a) && !a.Addr().IsLinkLocalUnicast() {
			p.remove(addressPhase, w.Name+a.String(), Step{Network: w.Network, Op: Remove, Kind: AddressKind,
				Text: fmt.Sprintf("%v dev %s", a, w.Name), Device: new(w), Address: a.String()})
		}
	}
}

// peers passes over those that are as wanted, which at a big hub are all but one.
func (p *planner) peers(w, h Device) {
	index := newIndex(len(h.Peers))
	for i := range h.Peers {
		index.put(hashKey(h.Peers[i].PublicKey), i)
	}
	wanted := make([]bool, len(h.Peers))
	var added, differ []int
	former := func(peer *Peer) int {
		return index.find(hashKey(peer.PublicKey), func(at int) bool { return h.Peers[at].PublicKey == peer.PublicKey })
	}
	for i := range w.Peers {
		at := former(&w.Peers[i])
		switch {
		case at < 0:
			added = append(added, i)
			continue
		case !same(&w.Peers[i], &h.Peers[at]):
			differ = append(differ, i)
		}
		wanted[at] = true
	}
	gone := map[key.Public]Peer{}
	for i, former := range h.Peers {
		if !wanted[i] {
			gone[former.PublicKey] = former
		}
	}
	if len(added)+len(differ)+len(gone) == 0 {
		return
	}
	owner := map[netip.Prefix]key.Public{}
	for _, peer := range gone {
		ask(owner, peer)
	}
	for _, i := range differ {
		ask(owner, h.Peers[former(&w.Peers[i])])
	}
	owners(owner, w)
	for _, i := range differ {
		peer, former := w.Peers[i], h.Peers[former(&w.Peers[i])]
		p.allowedIPs(w, peer, former, owner)
		p.session(w, peer, former)
	}
	heirs := heirsOf(gone)
	p.steps = slices.Grow(p.steps, len(added))
	for _, i := range added {
		p.newPeer(w, w.Peers[i], heirs, gone, owner)
	}
	for _, former := range gone {
		p.remove(peerPhase, w.Name+former.PublicKey.String(), removal(w, former))
		p.last().goes = unowned(former, owner)
	}
}

// same is true where neither allowedIPs nor session would find anything to do.
func same(peer, former *Peer) bool {
	if len(peer.AllowedIPs) != len(former.AllowedIPs) || !peer.PresharedKey.Equal(former.PresharedKey) ||
		moves(peer, former) || quickens(peer, former) {
		return false
	}
	for i, a := range peer.AllowedIPs {
		if former.AllowedIPs[i] != a && !slices.Contains(former.AllowedIPs, a) {
			return false
		}
	}
	return true
}

// ask has owners find whose the prefixes of a peer are to be.
func ask(owner map[netip.Prefix]key.Public, former Peer) {
	for _, a := range former.AllowedIPs {
		owner[a] = key.Public{}
	}
}

// owners finds which peer of a device each prefix in question belongs to; those of
// none are left out.
func owners(owner map[netip.Prefix]key.Public, w Device) {
	if len(owner) == 0 {
		return
	}
	for i := range w.Peers {
		for _, a := range w.Peers[i].AllowedIPs {
			if _, asked := owner[a]; asked {
				owner[a] = w.Peers[i].PublicKey
			}
		}
	}
	maps.DeleteFunc(owner, func(_ netip.Prefix, by key.Public) bool { return by.IsZero() })
}

// newPeer plans a peer that is not there: in the place of one that it is the heir
// of, or beside the others.
func (p *planner) newPeer(w Device, peer Peer, heirs heirs, gone map[key.Public]Peer, owner map[netip.Prefix]key.Public) {
	if !peer.Endpoint.IsValid() {
		peer.Keepalive = 0 // see session
	}
	if former, ok := heirs.of(peer, owner); ok {
		delete(gone, former.PublicKey)
		p.rekey(w, peer, former)
		return
	}
	p.peer(peerPhase, w, peer, PeerFields{}, Add, peerText(w, peer)).comes = peer.AllowedIPs
}

// removal is the step that ends a peer.
func removal(w Device, former Peer) Step {
	return Step{Network: w.Network, Op: Remove, Kind: PeerKind, Cuts: true,
		Text: fmt.Sprintf("%s on %s", cmp.Or(former.Name, short(former.PublicKey)), w.Name), Device: new(w), Peer: new(former)}
}

// unowned is what a peer had and none of its device is to have.
func unowned(former Peer, owner map[netip.Prefix]key.Public) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(former.AllowedIPs), func(a netip.Prefix) bool {
		_, wanted := owner[a]
		return wanted
	})
}

// allowedIPs adds what is missing, which disturbs nothing. A prefix that
// another peer of this device gets is moved by adding it there, without a gap;
// only what is left over makes a replacement, after the routes are gone.
func (p *planner) allowedIPs(w Device, peer, former Peer, owner map[netip.Prefix]key.Public) {
	grown := slices.DeleteFunc(slices.Clone(peer.AllowedIPs), func(a netip.Prefix) bool {
		return slices.Contains(former.AllowedIPs, a) && owner[a] == peer.PublicKey
	})
	shrunk := unowned(former, owner)
	text := fmt.Sprintf("%s allowed_ips", peer.Name)
	if len(grown) > 0 {
		text += " + " + list(grown)
	}
	if len(shrunk) > 0 {
		text += " - " + list(shrunk)
	}
	switch {
	case len(shrunk) > 0:
		p.peer(peerPhase, w, peer, PeerFields{ReplaceIPs: true}, Change, text)
		if len(grown) == 0 {
			p.last().round, p.last().phase = removals, lastPhase-peerPhase
		}
	case len(grown) > 0:
		peer.AllowedIPs = grown
		p.peer(peerPhase, w, peer, PeerFields{AddIPs: true}, Change, text)
	default:
		return
	}
	p.last().comes, p.last().goes = grown, shrunk
}

// session plans what concerns the way to the peer. An endpoint that is as good
// as the wanted one is left alone, and so is any while none is known. A peer
// without an endpoint gets no keepalive yet: it would make WireGuard try a
// handshake at once, in vain, and hold back the real one for five seconds.
func (p *planner) session(w Device, peer, former Peer) {
	if !peer.PresharedKey.Equal(former.PresharedKey) {
		p.peer(peerPhase, w, peer, PeerFields{Preshared: true}, Change, peer.Name+" preshared key")
	}
	moves, quickens := moves(&peer, &former), quickens(&peer, &former)
	text := fmt.Sprintf("%s keepalive %s -> %s", peer.Name, pause(former.Keepalive), pause(peer.Keepalive))
	phase := peerPhase
	if moves {
		phase, text = endpointPhase, fmt.Sprintf("%s endpoint %v -> %v", peer.Name, former.Endpoint, peer.Endpoint)
	}
	if moves && !former.Endpoint.IsValid() {
		text = fmt.Sprintf("%s endpoint %v", peer.Name, peer.Endpoint)
	}
	if moves || quickens {
		p.peer(phase, w, peer, PeerFields{Endpoint: moves, Keepalive: quickens}, Change, text)
	}
}

func moves(peer, former *Peer) bool {
	return peer.Endpoint.IsValid() && !good(peer, former.Endpoint)
}

func quickens(peer, former *Peer) bool {
	return peer.Keepalive != former.Keepalive && (peer.Endpoint.IsValid() || former.Endpoint.IsValid())
}

// good is true for the endpoint that is wanted and for those as good.
func good(peer *Peer, endpoint netip.AddrPort) bool {
	return unmapped(peer.Endpoint) == unmapped(endpoint) ||
		slices.ContainsFunc(peer.Alternatives, func(e netip.AddrPort) bool { return unmapped(e) == unmapped(endpoint) })
}

func (p *planner) peer(phase phase, w Device, peer Peer, fields PeerFields, op Op, text string) *planned {
	p.add(phase, w.Name+peer.Name+peer.PublicKey.String(), Step{Network: w.Network, Op: op, Kind: PeerKind,
		Cuts: fields.ReplaceIPs, Text: text, Device: new(w), Peer: new(peer), Fields: fields})
	return p.last()
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// without is a less what b has.
func without(a, b []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(a), func(x netip.Prefix) bool { return slices.Contains(b, x) })
}
