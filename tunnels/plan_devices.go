package tunnels

import (
	"cmp"
	"fmt"
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
			p.steps[len(p.steps)-1].round = first
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
	case h.Found != "": // somebody renamed it
		w.Found = h.Found
		change(DeviceKind, false, "is called %s", h.Found)
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

func (p *planner) peers(w, h Device) {
	have := map[key.Public]Peer{}
	for _, peer := range h.Peers {
		have[peer.PublicKey] = peer
	}
	owner := map[netip.Prefix]key.Public{}
	for _, peer := range w.Peers {
		for _, a := range peer.AllowedIPs {
			owner[a] = peer.PublicKey
		}
	}
	for _, peer := range w.Peers {
		former, ok := have[peer.PublicKey]
		delete(have, peer.PublicKey)
		if !ok {
			if !peer.Endpoint.IsValid() {
				peer.Keepalive = 0 // see session
			}
			p.peer(peerPhase, w, peer, PeerFields{}, Add, peerText(w, peer))
			continue
		}
		p.allowedIPs(w, peer, former, owner)
		p.session(w, peer, former)
	}
	for _, former := range have {
		p.remove(peerPhase, w.Name+former.PublicKey.String(), Step{Network: w.Network, Op: Remove, Kind: PeerKind, Cuts: true,
			Text: fmt.Sprintf("%s on %s", cmp.Or(former.Name, short(former.PublicKey)), w.Name), Device: new(w), Peer: new(former)})
	}
}

// allowedIPs adds what is missing, which disturbs nothing. A prefix that
// another peer of this device gets is moved by adding it there, without a gap;
// only what is left over makes a replacement, after the routes are gone.
func (p *planner) allowedIPs(w Device, peer, former Peer, owner map[netip.Prefix]key.Public) {
	grown, shrunk := slices.Clone(peer.AllowedIPs), []netip.Prefix(nil)
	for _, a := range former.AllowedIPs {
		o, wanted := owner[a]
		switch {
		case wanted && o == peer.PublicKey:
			grown = slices.DeleteFunc(grown, func(x netip.Prefix) bool { return x == a })
		case !wanted:
			shrunk = append(shrunk, a)
		}
	}
	text := fmt.Sprintf("%s allowed_ips", peer.Name)
	if len(grown) > 0 {
		text += " + " + list(grown)
	}
	if len(shrunk) > 0 {
		text += " - " + list(shrunk)
	}
	switch {
	case len(shrunk) > 0 && len(grown) > 0:
		p.peer(peerPhase, w, peer, PeerFields{ReplaceIPs: true}, Change, text)
	case len(shrunk) > 0:
		p.peer(peerPhase, w, peer, PeerFields{ReplaceIPs: true}, Change, text)
		last := &p.steps[len(p.steps)-1]
		last.round, last.phase = removals, lastPhase-peerPhase
	case len(grown) > 0:
		peer.AllowedIPs = grown
		p.peer(peerPhase, w, peer, PeerFields{AddIPs: true}, Change, text)
	}
}

// session plans what concerns the way to the peer. An endpoint that is as good
// as the wanted one is left alone, and so is any while none is known. A peer
// without an endpoint gets no keepalive yet: it would make WireGuard try a
// handshake at once, in vain, and hold back the real one for five seconds.
func (p *planner) session(w Device, peer, former Peer) {
	if !peer.PresharedKey.Equal(former.PresharedKey) {
		p.peer(peerPhase, w, peer, PeerFields{Preshared: true}, Change, peer.Name+" preshared key")
	}
	moves := peer.Endpoint.IsValid() && !good(peer, former.Endpoint)
	quickens := peer.Keepalive != former.Keepalive && (peer.Endpoint.IsValid() || former.Endpoint.IsValid())
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

// good is true for the endpoint that is wanted and for those as good.
func good(peer Peer, endpoint netip.AddrPort) bool {
	return unmapped(peer.Endpoint) == unmapped(endpoint) ||
		slices.ContainsFunc(peer.Alternatives, func(e netip.AddrPort) bool { return unmapped(e) == unmapped(endpoint) })
}

func (p *planner) peer(phase phase, w Device, peer Peer, fields PeerFields, op Op, text string) {
	p.add(phase, w.Name+peer.Name+peer.PublicKey.String(), Step{Network: w.Network, Op: op, Kind: PeerKind,
		Cuts: fields.ReplaceIPs, Text: text, Device: new(w), Peer: new(peer), Fields: fields})
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
