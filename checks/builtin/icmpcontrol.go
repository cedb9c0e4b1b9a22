package builtin

import (
	"errors"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// payload takes the IP header off, which a raw IPv4 socket gives.
func payload(packet []byte, header bool) ([]byte, bool) {
	if !header {
		return packet, true
	}
	h, err := ipv4.ParseHeader(packet)
	if err != nil || h.Len > len(packet) {
		return nil, false
	}
	return packet[h.Len:], true
}

// readControl returns the kernel's time of arrival; zero: none.
func (s *echoSocket) readControl(control []byte) (stamp time.Time) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return stamp
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch m.Header.Type {
		case unix.SO_TIMESTAMPING, unix.SO_TIMESTAMPNS:
			stamp = stampOf(m.Data)
		case unix.SO_RXQ_OVFL:
			if len(m.Data) >= 4 {
				s.drops = *(*uint32)(unsafe.Pointer(&m.Data[0]))
			}
		}
	}
	return stamp
}

// stampOf reads the first timespec of data, which is the one by software.
func stampOf(data []byte) time.Time {
	var ts unix.Timespec
	if len(data) < int(unsafe.Sizeof(ts)) {
		return time.Time{}
	}
	ts = *(*unix.Timespec)(unsafe.Pointer(&data[0]))
	if ts.Sec == 0 && ts.Nsec == 0 {
		return time.Time{}
	}
	return time.Unix(ts.Unix())
}

// takeError reads one message of the error queue: a stamp of departure, or what
// a router said; false: there is none.
func (s *echoSocket) takeError(fd int, b *burst, buf, control []byte) bool {
	n, cn, _, _, err := unix.Recvmsg(fd, buf, control, unix.MSG_DONTWAIT|unix.MSG_ERRQUEUE)
	if err != nil {
		return errors.Is(err, unix.EINTR)
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil {
		return true
	}
	var stamp time.Time
	var said *extendedError
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING:
			stamp = stampOf(m.Data)
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR,
			m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR:
			said = parseExtendedError(m.Data)
		}
	}
	switch {
	case said == nil:
	case said.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING:
		if i, ok := s.keys[said.Data]; ok && said.Info == unix.SCM_TSTAMP_SCHED {
			b.echoes[i].kernelSent = stamp
		}
	case said.Origin == unix.SO_EE_ORIGIN_ICMP, said.Origin == unix.SO_EE_ORIGIN_ICMP6, said.Origin == unix.SO_EE_ORIGIN_LOCAL:
		b.refuse(s, buf[:n], said)
	}
	return true
}

// extendedError is struct sock_extended_err with the address that follows it.
type extendedError struct {
	unix.SockExtendedErr
	offender netip.Addr
}

func parseExtendedError(data []byte) *extendedError {
	var e extendedError
	size := int(unsafe.Sizeof(e.SockExtendedErr))
	if len(data) < size {
		return nil
	}
	e.SockExtendedErr = *(*unix.SockExtendedErr)(unsafe.Pointer(&data[0]))
	rest := data[size:]
	if len(rest) < 2 {
		return &e
	}
	switch *(*uint16)(unsafe.Pointer(&rest[0])) {
	case unix.AF_INET:
		if len(rest) >= 8 {
			e.offender = netip.AddrFrom4([4]byte(rest[4:8]))
		}
	case unix.AF_INET6:
		if len(rest) >= 24 {
			e.offender = netip.AddrFrom16([16]byte(rest[8:24]))
		}
	}
	return &e
}
