package county

import (
	"net/netip"
	"sync"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// Seen counts what left a site for one network.
type Seen struct {
	Clear     int // frames for the network's prefixes that anyone could read
	Encrypted int // WireGuard data to the hub with a long ping in it, by its length
	Other     int // WireGuard data to the hub beside that: the agent's own probes, keepalives
	Offers    int // handshakes to the hub
}

// longFrame is the least length of a frame with an encrypted long ping: Ethernet,
// IPv4, UDP, WireGuard's header and tag, and inside IPv4 and ICMP.
const longFrame = 14 + 20 + 8 + 16 + 16 + 20 + 8 + longPing

// Watching counts frames until Stop.
type Watching struct {
	mu   sync.Mutex
	seen Seen
	stop func()
}

// WatchNetwork counts what leaves a site's line for a network, towards its hub.
// Each frame is also given to also, which may be nil.
func (c *County) WatchNetwork(s *Site, network, hub string, also func(wan.Frame)) *Watching {
	w := &Watching{}
	h := c.Plan.hub(hub)
	inside := []netip.Prefix{c.Plan.network(network).Services, netip.PrefixFrom(h.Overlay[network], 24).Masked()}
	endpoint := netip.AddrPortFrom(h.Address, uint16(h.Ports[network]))
	w.stop = s.Line.Watch(func(f wan.Frame) {
		if also != nil {
			also(f)
		}
		if f.Direction == wan.Out {
			w.count(wan.Parse(f.Bytes), inside, endpoint)
		}
	})
	return w
}

func (w *Watching) count(p wan.Packet, inside []netip.Prefix, endpoint netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, prefix := range inside {
		if prefix.Contains(p.Dst.Addr()) {
			w.seen.Clear++
		}
	}
	if p.Dst != endpoint {
		return
	}
	switch p.Note {
	case wan.Data, wan.Keepalive:
		if p.Length >= longFrame {
			w.seen.Encrypted++
		} else {
			w.seen.Other++
		}
	case wan.Offer:
		w.seen.Offers++
	}
}

// Seen is what was counted so far.
func (w *Watching) Seen() Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Stop ends the counting and returns it.
func (w *Watching) Stop() Seen {
	w.stop()
	return w.Seen()
}
