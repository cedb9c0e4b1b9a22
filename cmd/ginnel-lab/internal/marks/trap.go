package marks

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// Log is where marks were seen.
type Log struct {
	mu      sync.Mutex // guards seen
	seen    map[uint32]map[string]Kind
	traps   []*trap
	missed  atomic.Int64
	stopped atomic.Bool
	readers sync.WaitGroup
}

// trap is one socket that sees a part of a node.
type trap struct {
	fd     int
	packet bool // an AF_PACKET one
}

// NewLog is an empty one.
func NewLog() *Log { return &Log{seen: map[uint32]map[string]Kind{}} }

// Seen is where a number was seen, by "node:link" and, for what came into a
// node's own stack, "node:in".
func (l *Log) Seen(number uint32) map[string]Kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.seen[number])
}

// Forget forgets all that was seen.
func (l *Log) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.seen)
}

// Missed is how many packets came when a socket of ours was full, of marks and
// of others.
func (l *Log) Missed() int {
	for _, t := range l.traps {
		if t.packet {
			if st, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				l.missed.Add(int64(st.Drops))
			}
		}
	}
	return int(l.missed.Load())
}

// Close ends the watching.
func (l *Log) Close() {
	l.stopped.Store(true)
	l.readers.Wait()
	for _, t := range l.traps {
		unix.Close(t.fd)
	}
}

func (l *Log) note(number uint32, kind Kind, place string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[number] == nil {
		l.seen[number] = map[string]Kind{}
	}
	l.seen[number][place] |= kind
}

// Links sees every packet on every link of a node, in both directions, also on
// links that are yet to come.
func (l *Log) Links(n *netns.Node) error {
	fd, err := l.open(n, unix.AF_PACKET, unix.SOCK_DGRAM, int(swapped(unix.ETH_P_ALL)))
	if err != nil {
		return err
	}
	l.traps = append(l.traps, &trap{fd: fd, packet: true})
	names := map[int]string{}
	l.read(n, fd, func(b []byte, from unix.Sockaddr) {
		number, kind, ok := Read(b)
		if !ok {
			return
		}
		index := from.(*unix.SockaddrLinklayer).Ifindex
		if names[index] == "" {
			names[index] = linkName(index)
		}
		l.note(number, kind, n.Name+":"+names[index])
	})
	return nil
}

func linkName(index int) string {
	if link, err := net.InterfaceByIndex(index); err == nil {
		return link.Name
	}
	return fmt.Sprintf("gone%d", index)
}

// Stack sees what gets through to a node's own programs. A raw socket is given
// its copy behind the packet filter.
func (l *Log) Stack(n *netns.Node) error {
	for _, s := range []struct{ family, protocol int }{
		{unix.AF_INET, unix.IPPROTO_TCP}, {unix.AF_INET, unix.IPPROTO_UDP}, {unix.AF_INET, unix.IPPROTO_ICMP},
		{unix.AF_INET6, unix.IPPROTO_TCP}, {unix.AF_INET6, unix.IPPROTO_UDP}, {unix.AF_INET6, unix.IPPROTO_ICMPV6},
	} {
		fd, err := l.open(n, s.family, unix.SOCK_RAW, s.protocol)
		if err != nil {
			return err
		}
		l.traps = append(l.traps, &trap{fd: fd})
		l.read(n, fd, func(b []byte, _ unix.Sockaddr) {
			number, kind, ok := Read(b)
			if s.family == unix.AF_INET6 { // without its IP header
				number, kind, ok = readBody(byte(s.protocol), b)
			}
			if ok {
				l.note(number, kind, n.Name+":in")
			}
		})
	}
	return nil
}

func (l *Log) open(n *netns.Node, family, kind, protocol int) (fd int, err error) {
	err = n.Do(func() error {
		if fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	})
	if err != nil {
		return -1, fmt.Errorf("watching %s: %w", n.Name, err)
	}
	return fd, nil
}

// read hands each packet to see, on a thread of the node's own, until Close.
func (l *Log) read(n *netns.Node, fd int, see func([]byte, unix.Sockaddr)) {
	l.readers.Go(func() {
		_ = n.Do(func() error {
			buf := make([]byte, 2048)
			for !l.stopped.Load() {
				size, from, err := unix.Recvfrom(fd, buf, 0)
				if err == nil {
					see(buf[:size], from)
				}
			}
			return nil
		})
	})
}

// swapped is a 16-bit number of this machine in the byte order of the wire.
func swapped(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
