package builtin

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"golang.org/x/sys/unix"
)

// errAllHere ends waiting for replies: there are none missing.
var errAllHere = errors.New("all replies are here")

// echoSocket is an ICMP socket connected to one address.
type echoSocket struct {
	conn  net.Conn // for its deadlines and the poller
	raw   syscall.RawConn
	v6    bool
	isRaw bool
	id    int    // of a raw socket's requests
	count uint32 // requests sent, as the kernel numbers its stamps
	keys  map[uint32]int
	drops uint32 // replies that found our buffer full
}

// openEcho opens a datagram socket where that is allowed, else a raw one.
func openEcho(w reach.Way) (*echoSocket, error) {
	s := &echoSocket{v6: w.To.Is6(), keys: map[uint32]int{}, id: rand.IntN(1 << 16)}
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if s.v6 {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, proto)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		s.isRaw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, proto)
	}
	switch {
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return nil, reach.Ours(checks.NotRun, checks.PhaseRequest,
			"this program may not send echo requests: neither net.ipv4.ping_group_range nor CAP_NET_RAW allows it")
	case errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, reach.Ours(checks.NotRun, checks.PhaseRequest, "this host has no %s", reach.Family(w.To))
	case err != nil:
		return nil, reach.Ours(checks.SelfFault, checks.PhaseRequest, "opening an ICMP socket: %v", err)
	}
	if err := s.prepare(fd, w); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, s.poll(fd)
}

// prepare binds and connects the socket and asks for stamps. Without stamps it
// works as well, so those errors do not matter.
func (s *echoSocket) prepare(fd int, w reach.Way) error {
	if w.From.IsValid() {
		if err := unix.Bind(fd, sockaddr(w.From)); err != nil {
			return reach.FaultOf(context.Background(), checks.PhaseRoute, "sending from "+w.From.String(), err)
		}
	}
	if err := unix.Connect(fd, sockaddr(w.To)); err != nil {
		return err
	}
	const stamps = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
		unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	if s.v6 {
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
	} else {
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1)
	}
	return nil
}

// poll hands the socket to Go's poller.
func (s *echoSocket) poll(fd int) error {
	f := os.NewFile(uintptr(fd), "icmp")
	defer f.Close() // FileConn has its own
	conn, err := net.FileConn(f)
	if err != nil {
		return reach.Ours(checks.SelfFault, checks.PhaseRequest, "watching an ICMP socket: %v", err)
	}
	s.conn = conn
	s.raw, err = conn.(syscall.Conn).SyscallConn()
	return err
}

func (s *echoSocket) Close() error { return s.conn.Close() }

// lost is how many packets the kernel threw away because the socket was full.
func (s *echoSocket) lost() uint32 { return s.drops }

// send sends request i of b.
func (s *echoSocket) send(b *burst, i int) error {
	data, err := b.request(i, s.v6, s.id)
	if err != nil {
		return err
	}
	var sendErr error
	write := func(fd uintptr) bool {
		b.echoes[i].sent = time.Now()
		sendErr = unix.Send(int(fd), data, 0)
		return !errors.Is(sendErr, unix.EAGAIN)
	}
	if err := s.raw.Write(write); err != nil {
		return err
	}
	// A pending error of an earlier request is reported by this call, which
	// then sent nothing: it is in the error queue too. Once more.
	if _, isErrno := errors.AsType[syscall.Errno](sendErr); isErrno && i > 0 {
		if err := s.raw.Write(write); err != nil {
			return err
		}
	}
	if sendErr != nil {
		b.echoes[i].sent = time.Time{}
		return sendErr
	}
	s.keys[s.count] = i
	s.count++
	return nil
}

// receive takes what comes until a time, or until nothing is missing.
func (s *echoSocket) receive(ctx context.Context, b *burst, until time.Time) error {
	s.conn.SetReadDeadline(until)
	if ctx.Err() != nil {
		return nil
	}
	buf, control := make([]byte, 2048), make([]byte, 512)
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		for faults := 0; ; {
			said := s.takeError(int(fd), b, buf, control)
			came, err := s.takeReply(int(fd), b, buf, control)
			if err != nil { // of an earlier request: the error queue says which
				faults++
			}
			if faults > len(b.echoes)+1 {
				failed = err
				return true
			}
			if !said && !came && err == nil {
				return b.complete()
			}
		}
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	return errAllHere
}

// takeReply reads one packet; false: there is none.
func (s *echoSocket) takeReply(fd int, b *burst, buf, control []byte) (bool, error) {
	n, cn, _, _, err := unix.Recvmsg(fd, buf, control, unix.MSG_DONTWAIT)
	back := time.Now()
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case errors.Is(err, unix.EINTR):
		return true, nil
	case err != nil:
		return false, err
	}
	data, ok := payload(buf[:n], s.isRaw && !s.v6)
	if !ok {
		return true, nil
	}
	stamp := s.readControl(control[:cn])
	b.reply(data, s.v6, back, stamp)
	return true, nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	s := &unix.SockaddrInet6{Addr: a.As16()}
	if i, err := net.InterfaceByName(a.Zone()); err == nil {
		s.ZoneId = uint32(i.Index)
	}
	return s
}
