package echo

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize   = 64   // messages of a call
	bufferSize  = 2048 // of a message that comes, bytes
	controlSize = 256  // of what the kernel says of it, bytes
)

// sockaddr is a struct sockaddr_in or sockaddr_in6.
type sockaddr struct {
	b    [unix.SizeofSockaddrInet6]byte
	size uint32
}

func nameOf(a netip.AddrPort) (n sockaddr) {
	if a.Addr().Is4() {
		binary.NativeEndian.PutUint16(n.b[:], unix.AF_INET)
		ip := a.Addr().As4()
		copy(n.b[4:], ip[:])
		n.size = unix.SizeofSockaddrInet4
	} else {
		binary.NativeEndian.PutUint16(n.b[:], unix.AF_INET6)
		ip := a.Addr().As16()
		copy(n.b[8:], ip[:])
		binary.NativeEndian.PutUint32(n.b[24:], zoneOf(a.Addr()))
		n.size = unix.SizeofSockaddrInet6
	}
	binary.BigEndian.PutUint16(n.b[2:], a.Port())
	return n
}

// addrPort reads a sockaddr; not valid: it is of another family, or too short.
func addrPort(b []byte) netip.AddrPort {
	if len(b) < 4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET && len(b) >= 8:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// batch is the memory of calls that send or receive several messages.
type batch struct {
	messages [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec
	names    [batchSize]sockaddr
	control  [batchSize][controlSize]byte
}

// inbox is the memory of what comes.
type inbox struct {
	batch
	buffers [batchSize][bufferSize]byte
}

// outbox is the memory of what leaves.
type outbox struct {
	batch
	data []byte // one message after the other
	ends [batchSize]int
}

// receive reads what there is, and returns how many messages. Its error is
// EAGAIN where there is none.
func (b *inbox) receive(fd, flags int) (int, syscall.Errno) {
	for i := range b.messages {
		m := &b.messages[i]
		b.vectors[i].Base = &b.buffers[i][0]
		b.vectors[i].SetLen(bufferSize)
		m.Iov = &b.vectors[i]
		m.SetIovlen(1)
		m.Name, m.Namelen = &b.names[i].b[0], uint32(len(b.names[i].b))
		m.Control = &b.control[i][0]
		m.SetControllen(controlSize)
		m.Flags = 0
	}
	return b.call(unix.SYS_RECVMMSG, fd, 0, batchSize, flags|unix.MSG_DONTWAIT)
}

// message is what the last receive read as its message i.
func (b *inbox) message(i int) (data []byte, control []byte, from netip.AddrPort, cut bool) {
	m := &b.messages[i]
	return b.buffers[i][:min(int(m.n), bufferSize)], b.control[i][:m.Controllen],
		addrPort(b.names[i].b[:min(int(m.Namelen), len(b.names[i].b))]), m.Flags&unix.MSG_TRUNC != 0
}

// compose lays out questions to be sent.
func (b *outbox) compose(s *socket, questions []question) {
	b.data = b.data[:0]
	for i, q := range questions {
		b.data = s.compose(b.data, q.t, q.i)
		b.ends[i] = len(b.data)
	}
	begin := 0
	for i, q := range questions {
		m := &b.messages[i]
		b.vectors[i].Base = &b.data[begin]
		b.vectors[i].SetLen(b.ends[i] - begin)
		begin = b.ends[i]
		m.Iov = &b.vectors[i]
		m.SetIovlen(1)
		b.names[i] = q.t.name
		m.Name, m.Namelen = &b.names[i].b[0], q.t.name.size
		m.Control = nil
		m.SetControllen(0)
		if q.t.TTL != 0 {
			m.Control = &b.control[i][0]
			m.SetControllen(putTTL(b.control[i][:], s.v6, q.t.TTL))
		}
	}
}

// putTTL writes a control message and returns its size.
func putTTL(b []byte, v6 bool, ttl int) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_IP, unix.IP_TTL
	if v6 {
		h.Level, h.Type = unix.SOL_IPV6, unix.IPV6_HOPLIMIT
	}
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(b[unix.CmsgLen(0):], uint32(ttl))
	return unix.CmsgSpace(4)
}

// transmit sends the composed messages from one on, and returns how many left.
// An error is that of the first.
func (b *outbox) transmit(fd, from, to int) (int, syscall.Errno) {
	return b.call(unix.SYS_SENDMMSG, fd, from, to-from, unix.MSG_DONTWAIT)
}

func (b *batch) call(trap uintptr, fd, from, n, flags int) (int, syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[from])), uintptr(n), uintptr(flags), 0, 0)
		switch errno {
		case 0:
			return int(r), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
