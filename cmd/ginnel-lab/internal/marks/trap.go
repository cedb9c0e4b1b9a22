package marks

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
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
	readers sync.WaitGroup
}

// trap is one socket that sees a part of a node. The runtime waits for all of them
// at once: a thread for each would cost more than what is seen.
type trap struct {
	fd     int
	file   *os.File // has fd
	packet bool     // an AF_PACKET one
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
	for _, t := range l.traps {
		_ = t.file.Close()
	}
	l.readers.Wait()
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
	t, err := l.open(n, unix.AF_PACKET, unix.SOCK_DGRAM, int(swapped(unix.ETH_P_ALL)))
	if err != nil {
		return err
	}
	names := map[int]string{}
	return l.read(t, func(b []byte, from unix.Sockaddr) {
		number, kind, ok := Read(b)
		if !ok {
			return
		}
		index := from.(*unix.SockaddrLinklayer).Ifindex
		if names[index] == "" {
			names[index] = linkName(t.fd, index)
		}
		l.note(number, kind, n.Name+":"+names[index])
	})
}

// linkName names a link of the namespace that the socket is of.
func linkName(fd, index int) string {
	gone := fmt.Sprintf("gone%d", index)
	ask, err := unix.NewIfreq("")
	if err != nil {
		return gone
	}
	ask.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ask); err != nil {
		return gone
	}
	return ask.Name()
}

// Stack sees what gets through to a node's own programs. A raw socket is given
// its copy behind the packet filter.
func (l *Log) Stack(n *netns.Node) error {
	for _, s := range []struct{ family, protocol int }{
		{unix.AF_INET, unix.IPPROTO_TCP}, {unix.AF_INET, unix.IPPROTO_UDP}, {unix.AF_INET, unix.IPPROTO_ICMP},
		{unix.AF_INET6, unix.IPPROTO_TCP}, {unix.AF_INET6, unix.IPPROTO_UDP}, {unix.AF_INET6, unix.IPPROTO_ICMPV6},
	} {
		t, err := l.open(n, s.family, unix.SOCK_RAW, s.protocol)
		if err != nil {
			return err
		}
		err = l.read(t, func(b []byte, _ unix.Sockaddr) {
			number, kind, ok := Read(b)
			if s.family == unix.AF_INET6 { // without its IP header
				number, kind, ok = readBody(byte(s.protocol), b)
			}
			if ok {
				l.note(number, kind, n.Name+":in")
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) open(n *netns.Node, family, kind, protocol int) (*trap, error) {
	t := &trap{packet: family == unix.AF_PACKET}
	err := n.Do(func() (err error) {
		t.fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", n.Name, err)
	}
	_ = unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // more is better, less will do
	t.file = os.NewFile(uintptr(t.fd), "trap")
	l.traps = append(l.traps, t)
	return t, nil
}

// read hands each packet to see, until Close.
func (l *Log) read(t *trap, see func([]byte, unix.Sockaddr)) error {
	conn, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	l.readers.Go(func() {
		buf := make([]byte, 2048)
		_ = conn.Read(func(uintptr) bool { // returns when the file is closed
			for {
				size, from, err := unix.Recvfrom(t.fd, buf, 0)
				if err == unix.EAGAIN {
					return false
				}
				if err == nil {
					see(buf[:size], from)
				}
			}
		})
	})
	return nil
}

// swapped is a 16-bit number of this machine in the byte order of the wire.
func swapped(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
