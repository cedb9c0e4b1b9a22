package tunnels

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

func (w *wanting) device(n Network, t Tunnel) {
	mtu := t.MTU
	if mtu == 0 {
		mtu = DefaultMTU
	}
	d := Device{Network: n.Name, Name: t.Device, Up: true, MTU: mtu, Addresses: slices.Clone(n.Addresses),
		PrivateKey: t.PrivateKey, PublicKey: t.PrivateKey.Public(), ListenPort: t.ListenPort}
	if t.PrivateKey.IsZero() {
		w.problem(n, DevicePart, "ginnel key "+n.Name, "device %s has no private key", t.Device)
	}
	d.Peers = make([]Peer, 0, len(t.Peers))
	taken := taken{make(map[key.Public]string, len(t.Peers)), make(map[netip.Prefix]string, 2*len(t.Peers))}
	for _, p := range t.Peers {
		if !w.unfit(n, d, p, taken) {
			d.Peers = append(d.Peers, w.peer(n, p, taken))
		}
	}
	w.Devices = append(w.Devices, d)
}

// taken is by which peer of a device, where only one can have it: a second one
// would get it and lose it again at every look.
type taken struct {
	keys     map[key.Public]string
	prefixes map[netip.Prefix]string
}

// unfit leaves out a peer that no device would keep.
func (w *wanting) unfit(n Network, d Device, p PeerSpec, taken taken) bool {
	switch by := taken.keys[p.PublicKey]; {
	case p.PublicKey.IsZero():
		w.problem(n, PeerPart, "", "peer %s has no public key yet", p.Name)
	case p.PublicKey == d.PublicKey:
		w.problem(n, PeerPart, "write the key that `ginnel key` prints over there", "peer %s has the public key of this gateway", p.Name)
	case by != "":
		w.problem(n, PeerPart, "each gateway has a key of its own", "peer %s has the public key of %s", p.Name, by)
	default:
		taken.keys[p.PublicKey] = p.Name
		return false
	}
	return true
}

func (w *wanting) peer(n Network, p PeerSpec, taken taken) Peer {
	peer := Peer{Name: p.Name, PublicKey: p.PublicKey, PresharedKey: p.PresharedKey, Keepalive: p.Keepalive.Round(time.Second),
		AllowedIPs: make([]netip.Prefix, 0, len(p.AllowedIPs))}
	for _, prefix := range p.AllowedIPs {
		if w.refused(n, p, prefix) {
			continue
		}
		prefix = prefix.Masked()
		if by, ok := taken.prefixes[prefix]; !ok {
			taken.prefixes[prefix] = p.Name
			peer.AllowedIPs = append(peer.AllowedIPs, prefix)
		} else if by != p.Name {
			w.problem(n, PeerPart, "a prefix leads to one peer", "%v of %s belongs to %s already", prefix, p.Name, by)
		}
	}
	var known []netip.AddrPort
	for _, e := range p.Endpoints {
		known = append(known, w.endpoints(e)...)
	}
	if len(known) > 0 {
		peer.Endpoint, peer.Alternatives = known[0], known[1:]
	}
	return peer
}

// refused drops a default route, which config refuses by itself: never the
// default route, whoever wrote the Spec.
func (w *wanting) refused(n Network, p PeerSpec, prefix netip.Prefix) bool {
	if prefix.IsValid() && prefix.Bits() > 0 {
		return false
	}
	w.problem(n, PeerPart, "list only what is behind "+p.Name, "%v of %s is not taken: the default route is never ours", prefix, p.Name)
	return true
}
