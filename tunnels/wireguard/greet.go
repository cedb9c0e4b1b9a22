package wireguard

import (
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/tunnels"
)

// A hub learns where its sites are from what they send. When its data plane is
// replaced it knows no more, and they do not notice for fifteen seconds
// (KEEPALIVE_TIMEOUT and REKEY_TIMEOUT of WireGuard's paper, section 6.1). So we
// remember where peers were seen, and a new device greets them there.

// rejectAfter is when a session ends (REJECT_AFTER_TIME, ibid.). Where a peer was
// before that says nothing.
const rejectAfter = 180 * time.Second

// place is one peer of one device.
type place struct {
	device string
	peer   wgtypes.Key
}

// seen is where a peer was when we looked.
type seen struct {
	at     netip.AddrPort
	looked time.Time
}

// remember keeps where the peers of a device are.
func (d *Devices) remember(name string, read *wgtypes.Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range read.Peers {
		if p.Endpoint != nil && time.Since(p.LastHandshakeTime) < rejectAfter {
			d.places[place{name, p.PublicKey}] = seen{p.Endpoint.AddrPort(), time.Now()}
		}
	}
}

// lastSeen is where a peer was of late; zero where nobody knows.
func (d *Devices) lastSeen(name string, peer wgtypes.Key) netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.places[place{name, peer}]
	if time.Since(s.looked) > rejectAfter {
		return netip.AddrPort{}
	}
	return s.at
}

// forget is for a peer that is removed.
func (d *Devices) forget(name string, peer wgtypes.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.places, place{name, peer})
}

// greeting makes a peer that calls us by itself, and calls it where it was last: a
// keepalive that is switched on is sent at once, and begins a handshake.
func greeting(p tunnels.Peer, at netip.AddrPort) wgtypes.PeerConfig {
	p.Endpoint, p.Keepalive = at, time.Second
	return addition(p)
}

// ending gives the peer its own keepalive after that.
func ending(p tunnels.Peer) wgtypes.PeerConfig {
	c := peerConfig(p, tunnels.PeerFields{Keepalive: true})
	c.UpdateOnly = true
	return c
}
