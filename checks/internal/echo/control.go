package echo

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notes are what the kernel says of a message.
type notes struct {
	stamp  int64 // of its clock, nanoseconds; 0: none
	error  bool  // what follows is set
	origin uint8
	info   uint32
	data   uint32
	denial Denial
}

// readNotes reads control messages.
func readNotes(control []byte) (n notes) {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return n
		}
		control = rest
		switch {
		case h.Level == unix.SOL_SOCKET && (h.Type == unix.SO_TIMESTAMPING || h.Type == unix.SO_TIMESTAMPNS):
			n.stamp = readTime(data)
		case h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR, h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR:
			n.readError(data)
		}
	}
	return n
}

// readTime reads the first timespec, which is the one by software.
func readTime(data []byte) int64 {
	var ts unix.Timespec
	if len(data) < int(unsafe.Sizeof(ts)) {
		return 0
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)), data)
	return ts.Nano()
}

// readError reads a struct sock_extended_err and the address behind it.
func (n *notes) readError(data []byte) {
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	if len(data) < size {
		return
	}
	var e unix.SockExtendedErr
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), size), data)
	n.error, n.origin, n.info, n.data = true, e.Origin, e.Info, e.Data
	n.denial = Denial{Errno: syscall.Errno(e.Errno)}
	if e.Origin != unix.SO_EE_ORIGIN_LOCAL {
		n.denial.Type, n.denial.Code = e.Type, e.Code
		if by := addrPort(data[size:]).Addr(); by.IsValid() && by != netip.IPv4Unspecified() {
			n.denial.By = by
		}
	}
	if syscall.Errno(e.Errno) == syscall.EMSGSIZE {
		n.denial.MTU = int(e.Info)
	}
}

// read takes what has come for a socket.
func (e *Engine) read(s *socket) {
	e.readErrors(s)
	for range 64 { // a flood must not keep us here
		s.look()
		n, errno := e.in.receive(s.fd, 0)
		back := time.Now()
		for i := range n {
			data, control, from, cut := e.in.message(i)
			e.take(s, data, cut, from, readNotes(control), back)
		}
		e.heard += n
		switch {
		case errno == syscall.EAGAIN, errno == 0 && n < batchSize:
			return
		case errno != 0: // of a question before: the error queue tells of which
			e.readErrors(s)
		}
	}
}

// take deals with a message, of which the end is cut off where it was too long.
func (e *Engine) take(s *socket, data []byte, cut bool, from netip.AddrPort, said notes, back time.Time) {
	payload, seq, ok := s.payloadOf(data)
	if !ok {
		return
	}
	number, ok := s.numberOf(payload)
	if !ok {
		if t, i := e.findBySeq(s, from, seq); t != nil {
			t.answer(i, false, back, said.stamp)
			e.settled(t)
		}
		return
	}
	i := int(number & 0xffff)
	if g, ok := e.ghosts[number>>16]; ok {
		g.answer(s, i, seq, payload, cut)
	}
	if t := e.trains[number>>16]; t != nil {
		intact := i < len(t.packets) && (s.udp || seq == t.packets[i].seq) && t.pattern().intact(payload, cut)
		t.answer(i, intact, back, said.stamp)
		if s.reflected {
			t.keepAnswer(i, payload)
		}
		e.settled(t)
	}
}

// readErrors takes the error queue: stamps of what left, and what was said
// instead of an answer.
func (e *Engine) readErrors(s *socket) {
	denied := false
	for range 64 {
		n, errno := e.in.receive(s.fd, unix.MSG_ERRQUEUE)
		back := time.Now()
		for i := range n {
			data, control, to, _ := e.in.message(i)
			said := readNotes(control)
			switch {
			case !said.error:
			case said.origin == unix.SO_EE_ORIGIN_TIMESTAMPING:
				e.stamp(s, said)
			case said.origin == unix.SO_EE_ORIGIN_LOCAL:
				s.mtu, denied = said.denial.MTU, true
			default:
				denied = true
				e.deny(s, data, to, said, back)
			}
		}
		if errno != 0 || n < batchSize {
			break
		}
	}
	if denied { // else the next call reports it, and does nothing
		unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		e.heard++
	}
}

// stamp takes the kernel's time of a departure. The first counts: a packet that
// goes through a tunnel may leave twice.
func (e *Engine) stamp(s *socket, said notes) {
	k := &s.keys[said.data%ring]
	if said.info != unix.SCM_TSTAMP_SCHED || k.key != said.data || k.number == 0 {
		return
	}
	if t, i := e.trains[k.number>>16], int(k.number&0xffff); t != nil && i < len(t.packets) {
		t.packets[i].kSent = said.stamp
	}
	k.number = 0
}

// deny gives what was said to the question that it was said of. What is quoted
// of that may be no more than its header.
func (e *Engine) deny(s *socket, quoted []byte, to netip.AddrPort, said notes, back time.Time) {
	payload, seq := quoted, uint16(0)
	if !s.udp {
		if len(quoted) < icmpHeader || s.raw && binary.BigEndian.Uint16(quoted[4:]) != s.id {
			return
		}
		payload, seq = quoted[icmpHeader:], binary.BigEndian.Uint16(quoted[6:])
	}
	var t *train
	var i int
	numberOf := s.numberOf
	if s.reflected {
		numberOf = s.numberOfTest
	}
	if number, ok := numberOf(payload); ok {
		t, i = e.trains[number>>16], int(number&0xffff)
	} else {
		t, i = e.findBySeq(s, to, seq)
	}
	if t != nil {
		t.deny(i, &said.denial, back, said.stamp)
		e.settled(t)
	}
}

// findBySeq finds the last question without a fate to an address that had a
// sequence number; nil: there is none. UDP has no such number.
func (e *Engine) findBySeq(s *socket, to netip.AddrPort, seq uint16) (*train, int) {
	for _, t := range e.due {
		if t.socket != s || t.To.Addr().WithZone("") != to.Addr() || s.udp && t.To.Port() != to.Port() {
			continue
		}
		for i := len(t.packets) - 1; i >= 0; i-- {
			if p := &t.packets[i]; p.fate == "" && (s.udp || p.seq == seq) {
				return t, i
			}
		}
	}
	return nil, 0
}
