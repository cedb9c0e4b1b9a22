package builtin

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// flow is the connections of a path check: all between the same addresses and
// ports.
type flow struct {
	way  reach.Way
	to   uint16 // the target's port
	port uint16 // ours; 0: the kernel chooses it at the first question
}

// aim turns a flow to a way. Another way is another flow.
func (f *flow) aim(w reach.Way, port uint16) {
	if f.way.To != w.To || f.way.From != w.From {
		f.port = 0
	}
	f.way, f.to = w, port
}

// ask opens a connection that lives for so many hops, 0: for as many as the host
// lets any, and waits for what comes of it. The error is one of ours, or ctx's.
func (f *flow) ask(ctx context.Context, distance int, wait time.Duration) (hop, error) {
	if err := ctx.Err(); err != nil {
		return hop{}, err
	}
	h, err := f.try(ctx, distance, wait)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EADDRINUSE) { // our port's last connection is not over yet
		f.port = 0
		h, err = f.try(ctx, distance, wait)
	}
	return h, err
}

func (f *flow) try(ctx context.Context, distance int, wait time.Duration) (hop, error) {
	fd, err := f.open(distance)
	if err != nil {
		return hop{}, err
	}
	conn := os.NewFile(uintptr(fd), "path") // watched by Go's poller, for the socket does not block
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return hop{}, err
	}
	begin := time.Now()
	conn.SetWriteDeadline(begin.Add(wait))
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })()
	h := hop{distance: distance}
	asked := false
	waited := raw.Write(func(fd uintptr) bool {
		if !asked {
			asked = true
			err = unix.Connect(int(fd), socketAddress(f.way.To, f.to))
			if !errors.Is(err, unix.EINPROGRESS) {
				return true // on loopback it is there already
			}
		}
		var errno int
		errno, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = syscall.Errno(errno)
		}
		if err != nil {
			return true
		}
		_, unconnected := unix.Getpeername(int(fd))
		return unconnected == nil
	})
	h.took = time.Since(begin)
	switch {
	case errors.Is(waited, os.ErrDeadlineExceeded):
		return h, ctx.Err()
	case waited != nil:
		return h, waited
	}
	return h.end(fd, f.way.To, err)
}

// open makes a socket with our port.
func (f *flow) open(distance int) (int, error) {
	v6 := f.way.To.Is6()
	domain, level, ttl, recvErr := unix.AF_INET, unix.SOL_IP, unix.IP_TTL, unix.IP_RECVERR
	if v6 {
		domain, level, ttl, recvErr = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, level, recvErr, 1)
	if err == nil && distance > 0 {
		err = unix.SetsockoptInt(fd, level, ttl, distance)
	}
	if err == nil && v6 { // else each connection has a flow label of its own, and routers go by that
		err = unix.SetsockoptInt(fd, level, unix.IPV6_AUTOFLOWLABEL, 0)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = f.bind(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (f *flow) bind(fd int) error {
	from := f.way.From
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
		if f.way.To.Is6() {
			from = netip.IPv6Unspecified()
		}
	}
	if err := unix.Bind(fd, socketAddress(from, f.port)); err != nil || f.port != 0 {
		return err
	}
	name, err := unix.Getsockname(fd)
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		f.port = uint16(a.Port)
	case *unix.SockaddrInet6:
		f.port = uint16(a.Port)
	}
	return err
}

func socketAddress(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	s := &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
	if l, err := netlink.LinkByName(a.Zone()); a.Zone() != "" && err == nil {
		s.ZoneId = uint32(l.Attrs().Index)
	}
	return s
}

// end says what err, with which connecting ended, means.
func (h hop) end(fd int, to netip.Addr, err error) (hop, error) {
	if err == nil {
		h.kind, h.by = reached, to
		return h, nil
	}
	said, by := readError(fd)
	const timeExceeded4, timeExceeded6 = 11, 3 // RFC 792, RFC 4443 3.3
	errno, _ := errors.AsType[syscall.Errno](err)
	switch {
	case said.Origin == unix.SO_EE_ORIGIN_ICMP && said.Type == timeExceeded4, said.Origin == unix.SO_EE_ORIGIN_ICMP6 && said.Type == timeExceeded6:
		h.kind, h.by = router, by
		return h, nil
	case said.Origin == unix.SO_EE_ORIGIN_ICMP, said.Origin == unix.SO_EE_ORIGIN_ICMP6:
		h.kind, h.by, h.err = denied, by, syscall.Errno(said.Errno)
		return h, nil
	case errno == unix.ECONNREFUSED, errno == unix.ECONNRESET:
		h.kind, h.by = refused, to
		return h, nil
	case errno == unix.ETIMEDOUT:
		return h, nil
	case errno == unix.EADDRNOTAVAIL:
		return h, err
	}
	return h, reach.FaultOf(context.Background(), checks.PhaseRoute, "connecting to "+to.String(), err)
}

// readError takes what a router said from a socket's error queue, and which one.
func readError(fd int) (said unix.SockExtendedErr, by netip.Addr) {
	control := make([]byte, 512)
	_, n, _, _, err := unix.Recvmsg(fd, nil, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return said, by
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return said, by
	}
	for _, m := range messages {
		four := m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR
		six := m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		size := int(unsafe.Sizeof(said))
		if !four && !six || len(m.Data) < size {
			continue
		}
		said = *(*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
		switch rest := m.Data[size:]; {
		case four && len(rest) >= 8:
			by = netip.AddrFrom4([4]byte(rest[4:8]))
		case six && len(rest) >= 24:
			by = netip.AddrFrom16([16]byte(rest[8:24])).Unmap()
		}
	}
	return said, by
}
