package echo

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is what trains of one place share.
type socket struct {
	place
	fd      int
	raw     bool      // an ICMP one that needs CAP_NET_RAW
	id      uint16    // of a raw one's requests
	stamped bool      // the kernel times what comes
	ready   time.Time // before that the kernel may not do so yet: it begins when first asked, a little later
	room    int       // for packets that wait, bytes
	nonce   uint64    // begins all payloads
	users   int
	idle    time.Time // since when it has had no users

	queue []question
	seq   uint16 // of the next ICMP message
	test  uint32 // sequence number of the next test packet; they begin anywhere, so that a copy is known
	asked []asked
	key   uint32 // of the next stamp, as the kernel counts
	keys  [ring]stampOf
	drops uint32 // packets that found the socket full
	lost  uint32 // packets that it did not take, for whatever reason, as the kernel counts
	full  bool   // by half, or but for a packet, when that was looked at last
	mtu   int    // what the last message that this host found too long might have had; 0: not said
}

// question is one that is to leave.
type question struct {
	t   *train
	i   int
	due time.Time
}

// ring is how many stamps may be outstanding: they come when a packet leaves,
// which is at once unless a neighbour must be asked for.
const ring = 2048

type stampOf struct {
	key    uint32
	number uint64 // of the question; 0: none
}

// open opens a datagram socket where that is allowed, else a raw one. Where it
// fails the socket is not nil, and to be closed.
func open(k place, room int) (*socket, error) {
	var nonce [8]byte
	rand.Read(nonce[:])
	s := &socket{place: k, fd: -1, nonce: binary.BigEndian.Uint64(nonce[:]), id: uint16(mathrand.IntN(1 << 16)), room: room, idle: time.Now()}
	if k.reflected {
		s.asked, s.test = make([]asked, ring), mathrand.Uint32()
	}
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if k.v6 {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	if k.udp {
		proto = unix.IPPROTO_UDP
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	var err error
	s.fd, err = unix.Socket(family, unix.SOCK_DGRAM|flags, proto)
	if !k.udp && refused(err) {
		s.raw = true
		s.fd, err = unix.Socket(family, unix.SOCK_RAW|flags, proto)
	}
	if err != nil {
		return s, err
	}
	return s, s.prepare()
}

func (s *socket) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	s.fd = -1
}

func refused(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// faultOfOpening says what an error of opening a socket means.
func faultOfOpening(k place, err error) *reach.Fault {
	who := "an ICMP socket"
	switch {
	case k.udp:
		who = "a UDP socket"
	case refused(err) && k.device == "" && !k.from.IsValid():
		return reach.Ours(checks.NotRun, checks.PhaseRequest,
			"this program may not send echo requests: neither net.ipv4.ping_group_range nor CAP_NET_RAW allows it")
	}
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return reach.Ours(checks.NotRun, checks.PhaseRequest, "this host has no %s", family(k.v6))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return reach.Ours(checks.SelfFault, checks.PhaseRoute, "sending from %v: %v", k.from, err)
	case errors.Is(err, unix.ENODEV):
		return reach.Ours(checks.SelfFault, checks.PhaseRoute, "sending by %s: there is no such link", k.device)
	}
	return reach.Ours(checks.SelfFault, checks.PhaseRequest, "opening %s: %v", who, err)
}

func family(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// prepare binds the socket and asks for stamps and errors. Those are good to
// have: it works without.
func (s *socket) prepare() error {
	if s.device != "" {
		if err := unix.BindToDevice(s.fd, s.device); err != nil {
			return err
		}
	}
	if s.from.IsValid() {
		if err := unix.Bind(s.fd, unixAddress(netip.AddrPortFrom(s.from, 0))); err != nil {
			return err
		}
	}
	if s.raw {
		if err := s.filter(); err != nil {
			return err
		}
	}
	room := s.room
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room) != nil {
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, room)
	}
	s.ready = time.Now().Add(2 * tick)
	s.stamped = s.stamp() == nil || unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) == nil
	level, recvErr, discover, mode := unix.SOL_IP, unix.IP_RECVERR, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT
	if s.v6 {
		level, recvErr, discover, mode = unix.SOL_IPV6, unix.IPV6_RECVERR, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT
	}
	if s.df {
		mode = unix.IP_PMTUDISC_PROBE // whatever the kernel thinks to know of the path
	}
	unix.SetsockoptInt(s.fd, level, recvErr, 1)
	return unix.SetsockoptInt(s.fd, level, discover, mode)
}

// stamp asks for the kernel's times. The departure is taken before the queue of
// the link, which every link has and which is nearest to the wire as a capture
// sees it.
func (s *socket) stamp() error {
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING,
		unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_TX_SCHED|
			unix.SOF_TIMESTAMPING_OPT_ID|unix.SOF_TIMESTAMPING_OPT_TSONLY)
}

// renumber lets the kernel count from 0 again: whether it counts what it did not
// send depends on where it failed.
func (s *socket) renumber() {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING,
		unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE) == nil && s.stamp() == nil {
		s.key, s.keys = 0, [ring]stampOf{}
	}
}

// filter lets nothing into a raw socket but replies to it: each such socket gets
// what comes for all others.
func (s *socket) filter() error {
	reply := uint32(echoReply4)
	program := []bpf.Instruction{bpf.LoadMemShift{Off: 0}} // over the IP header
	if s.v6 {
		reply = echoReply6
		program = []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX, Val: 0}}
	}
	program = append(program,
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: reply, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(s.id), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 18},
		bpf.RetConstant{Val: 0})
	code, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	raw := make([]unix.SockFilter, len(code))
	for i, c := range code {
		raw[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	return unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
}

// longest is what the longest packet takes of a socket's room, bytes.
const longest = 1 << 16

// look asks how full the socket is, and counts what it had no room for: it is called
// before each receive, so that a full one is seen full. The kernel counts packets
// with a wrong checksum among those that it threw away; they were damaged on the
// way, which is no fault of ours.
func (s *socket) look() {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size <= 4*unix.SK_MEMINFO_DROPS {
		return
	}
	was := s.full
	held, room := info[unix.SK_MEMINFO_RMEM_ALLOC], info[unix.SK_MEMINFO_RCVBUF]
	s.full = held >= room/2 || room-held < longest
	if was || s.full {
		s.drops += info[unix.SK_MEMINFO_DROPS] - s.lost
	}
	s.lost = info[unix.SK_MEMINFO_DROPS]
}

func unixAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: zoneOf(a.Addr())}
}

func zoneOf(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	i, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}
