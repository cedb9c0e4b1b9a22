package stamp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Responder is a Reflector at a UDP port.
type Responder struct {
	conn   *net.UDPConn
	device string
	v6     bool
	Reflector
}

// Listen binds a responder to an address of this host, which may be one that is
// not there yet. It answers what comes in by the device; an empty one is any.
func Listen(at netip.AddrPort, device string) (*Responder, error) {
	r := &Responder{device: device, v6: at.Addr().Is6()}
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = r.prepare(int(fd)) }); err != nil {
			return err
		}
		return failed
	}}
	conn, err := listen.ListenPacket(context.Background(), "udp", at.String())
	if err != nil {
		return nil, fmt.Errorf("answer test packets at %v: %w", at, err)
	}
	r.conn = conn.(*net.UDPConn)
	return r, nil
}

// prepare asks for what an answer needs to say, lets nobody fragment it, and
// binds to addresses that come later.
func (r *Responder) prepare(fd int) error {
	type option struct{ level, name, value int }
	options := []option{{unix.SOL_IP, unix.IP_FREEBIND, 1}, {unix.SOL_IP, unix.IP_PKTINFO, 1}, {unix.SOL_IP, unix.IP_RECVTTL, 1},
		{unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE}}
	if r.v6 {
		options = []option{{unix.SOL_IPV6, unix.IPV6_FREEBIND, 1}, {unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1}, {unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
			{unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE}}
	}
	for _, o := range append(options, option{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1}) {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// Addr is where it answers.
func (r *Responder) Addr() netip.AddrPort { return r.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close ends Serve.
func (r *Responder) Close() error { return r.conn.Close() }

// Serve answers until Close. An answer that cannot be sent is lost like any other.
func (r *Responder) Serve() error {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return err
	}
	buf, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		n, c, flags, from, err := r.conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // of an answer before
			continue
		}
		now := time.Now()
		at := arrival{received: now}
		at.read(control[:c])
		if flags&unix.MSG_TRUNC != 0 || r.device != "" && linkName(raw, at.link) != r.device {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if r.Answer(buf[:n], from, at.ttl, at.received, now) {
			_, _ = r.conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}
}

// arrival is what the kernel says of a packet.
type arrival struct {
	received time.Time
	link     int // index; 0: not told
	ttl      uint8
}

func (a *arrival) read(control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for _, m := range messages {
		switch d := m.Data; {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(d) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := *(*unix.Timespec)(unsafe.Pointer(&d[0]))
			a.received = time.Unix(ts.Unix())
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_PKTINFO && len(d) >= unix.SizeofInet4Pktinfo:
			a.link = int((*unix.Inet4Pktinfo)(unsafe.Pointer(&d[0])).Ifindex)
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(d) >= unix.SizeofInet6Pktinfo:
			a.link = int((*unix.Inet6Pktinfo)(unsafe.Pointer(&d[0])).Ifindex)
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_TTL && len(d) >= 4,
			m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(d) >= 4:
			a.ttl = uint8(*(*int32)(unsafe.Pointer(&d[0])))
		}
	}
}

// linkName is the name of a link; empty: there is none of that index.
func linkName(c syscall.RawConn, index int) (name string) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	request.SetUint32(uint32(index))
	_ = c.Control(func(fd uintptr) {
		if unix.IoctlIfreq(int(fd), unix.SIOCGIFNAME, request) == nil {
			name = request.Name()
		}
	})
	return name
}
