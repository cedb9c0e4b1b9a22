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
)

// wireCapture takes the times of echo requests and replies at a link, as the
// kernel stamps them, in nanoseconds.
type wireCapture struct {
	fd   int
	done atomic.Bool
	wg   sync.WaitGroup

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
func (p *probing) capture() (*wireCapture, error) {
	w := &wireCapture{seen: map[netip.Addr][]seenEcho{}}
	err := p.site.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL}) // else what leaves is not seen
		for _, set := range []func() error{
			func() error { return unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) },
			func() error { return unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
			func() error {
				return unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
			},
			func() error { return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}) },
		} {
			if err := set(); err != nil {
				unix.Close(w.fd)
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	w.wg.Go(w.read)
	return w, nil
}

func (w *wireCapture) close() {
	if !w.done.Swap(true) {
		w.wg.Wait()
		unix.Close(w.fd)
	}
}

func (w *wireCapture) read() {
	buf, control := make([]byte, 256), make([]byte, 128)
	for !w.done.Load() {
		n, c, _, _, err := unix.Recvmsg(w.fd, buf, control, 0)
		if err != nil {
			continue // the time to look whether we are done
		}
		messages, err := unix.ParseSocketControlMessage(control[:c])
		if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
			continue
		}
		stamp := messages[0].Data
		at := int64(binary.NativeEndian.Uint64(stamp))*1e9 + int64(binary.NativeEndian.Uint64(stamp[8:]))
		w.see(buf[:n], at)
	}
}

// see takes an IPv4 packet.
func (w *wireCapture) see(b []byte, at int64) {
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
