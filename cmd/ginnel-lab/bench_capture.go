package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// linkReader reads what passes a link, as the kernel saw it.
type linkReader struct {
	fd   int
	done atomic.Bool
	wg   sync.WaitGroup
}

// seenPacket is a packet at a link.
type seenPacket struct {
	head []byte // from its IP header on, at most 256 bytes; not to be kept
	size int    // of all of it, from there on, bytes
	out  bool   // this host sent it
	at   int64  // the kernel's wall clock, ns
}

// readLink hands each packet at a node's link to see, until close.
func readLink(n *netns.Node, link string, see func(seenPacket)) (*linkReader, error) {
	r := new(linkReader)
	err := n.Do(func() error {
		found, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL}) // else what leaves is not seen
		for _, set := range []func() error{
			func() error { return unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) },
			func() error { return unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
			func() error {
				return unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
			},
			func() error { return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: found.Index}) },
		} {
			if err := set(); err != nil {
				unix.Close(r.fd)
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	r.wg.Go(func() { r.read(see) })
	return r, nil
}

func (r *linkReader) close() {
	if !r.done.Swap(true) {
		r.wg.Wait()
		unix.Close(r.fd)
	}
}

func (r *linkReader) read(see func(seenPacket)) {
	buf, control := make([]byte, 256), make([]byte, 128)
	for !r.done.Load() {
		n, c, _, from, err := unix.Recvmsg(r.fd, buf, control, unix.MSG_TRUNC)
		if err != nil {
			continue // the time to look whether we are done
		}
		messages, err := unix.ParseSocketControlMessage(control[:c])
		if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
			continue
		}
		stamp := messages[0].Data
		link, _ := from.(*unix.SockaddrLinklayer)
		see(seenPacket{head: buf[:min(n, len(buf))], size: n, out: link != nil && link.Pkttype == unix.PACKET_OUTGOING,
			at: int64(binary.NativeEndian.Uint64(stamp))*1e9 + int64(binary.NativeEndian.Uint64(stamp[8:]))})
	}
}

// wireCapture takes the times of echo requests and replies at a link, as the
// kernel stamps them, in nanoseconds.
type wireCapture struct {
	*linkReader

	mu   sync.Mutex
	seen map[netip.Addr][]seenEcho
}

// seenEcho is a request, and the time to its reply; 0: none yet.
type seenEcho struct {
	id, seq uint16
	at      int64
	rtt     time.Duration
}

// capture begins to capture at the site's link.
func (p *probing) capture() (w *wireCapture, err error) {
	w = &wireCapture{seen: map[netip.Addr][]seenEcho{}}
	w.linkReader, err = readLink(p.site, "eth0", w.see)
	return w, err
}

// see takes an IPv4 packet.
func (w *wireCapture) see(p seenPacket) {
	b, at := p.head, p.at
	if len(b) < 28 || b[0] != 0x45 || b[9] != unix.IPPROTO_ICMP {
		return
	}
	id, seq := binary.BigEndian.Uint16(b[24:]), binary.BigEndian.Uint16(b[26:])
	w.mu.Lock()
	defer w.mu.Unlock()
	switch b[20] {
	case 8:
		to := netip.AddrFrom4([4]byte(b[16:]))
		w.seen[to] = append(w.seen[to], seenEcho{id: id, seq: seq, at: at})
	case 0:
		list := w.seen[netip.AddrFrom4([4]byte(b[12:]))]
		for i := len(list) - 1; i >= 0; i-- {
			if e := &list[i]; e.id == id && e.seq == seq && e.rtt == 0 {
				e.rtt = time.Duration(at - e.at)
				return
			}
		}
	}
}

// times are those of the answered requests to each address, in order.
func (w *wireCapture) times() map[netip.Addr][]time.Duration {
	w.close()
	times := map[netip.Addr][]time.Duration{}
	for to, list := range w.seen {
		for _, e := range list {
			if e.rtt != 0 {
				times[to] = append(times[to], e.rtt)
			}
		}
	}
	return times
}
