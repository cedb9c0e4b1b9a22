package marks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// Sender sends packets as they are from a node: whatever their source, by the
// node's own routes or by a link.
type Sender struct{ four, six int }

// From opens a sender. Where link is not empty, packets leave by that link only,
// and those without a route are refused. Where own addresses are given, one of a
// family, the node must have them.
func From(n *netns.Node, link string, own ...netip.Addr) (*Sender, error) {
	s := &Sender{-1, -1}
	err := n.Do(func() (err error) {
		if s.four, err = rawSocket(unix.AF_INET, link); err != nil {
			return err
		}
		if s.six, err = rawSocket(unix.AF_INET6, link); err != nil {
			return err
		}
		for _, a := range own {
			if err := s.bind(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("marks from %s: %w", n.Name, err)
	}
	return s, nil
}

func rawSocket(family int, link string) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return -1, err
	}
	if link != "" {
		if err := unix.BindToDevice(fd, link); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("link %s: %w", link, err)
		}
	}
	return fd, nil
}

func (s *Sender) bind(a netip.Addr) error {
	if a.Is4() {
		return unix.Bind(s.four, &unix.SockaddrInet4{Addr: a.As4()})
	}
	return unix.Bind(s.six, &unix.SockaddrInet6{Addr: a.As16()})
}

// Send sends one packet. An error is a refusal by the node itself.
func (s *Sender) Send(p Packet, number uint32) error {
	if p.Dst.Is4() {
		return unix.Sendto(s.four, p.Bytes(number), 0, &unix.SockaddrInet4{Addr: p.Dst.As4()})
	}
	return unix.Sendto(s.six, p.Bytes(number), 0, &unix.SockaddrInet6{Addr: p.Dst.As16()})
}

// Close closes its sockets.
func (s *Sender) Close() {
	for _, fd := range []int{s.four, s.six} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// Injector puts packets on a link as if they came from it, whatever routes and
// filters its node has.
type Injector struct {
	fd, index int
	mac       net.HardwareAddr
}

// Into opens an injector: packets leave by end's link for the neighbour whose
// hardware address the node has for good.
func Into(end netns.End) (*Injector, error) {
	i := &Injector{fd: -1}
	err := end.Node.Do(func() error {
		link, err := net.InterfaceByName(end.Link)
		if err != nil {
			return err
		}
		i.index = link.Index
		known, err := netlink.NeighList(link.Index, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		if len(known) != 1 {
			return fmt.Errorf("%d neighbours, not one", len(known))
		}
		i.mac = known[0].HardwareAddr
		i.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("marks from %s:%s: %w", end.Node.Name, end.Link, err)
	}
	return i, nil
}

// Send sends one packet.
func (i *Injector) Send(p Packet, number uint32) error {
	to := &unix.SockaddrLinklayer{Ifindex: i.index, Halen: uint8(len(i.mac)), Protocol: etherType(p.Dst)}
	copy(to.Addr[:], i.mac)
	return unix.Sendto(i.fd, p.Bytes(number), 0, to)
}

// Close closes its socket.
func (i *Injector) Close() { unix.Close(i.fd) }

// etherType is in the byte order of the wire.
func etherType(a netip.Addr) uint16 {
	if a.Is4() {
		return swapped(unix.ETH_P_IP)
	}
	return swapped(unix.ETH_P_IPV6)
}

// Refused is true for an error of Send that says: this node has no way there.
// The last two are the kernel's WireGuard: a peer without an address, no peer.
func Refused(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EPERM, unix.EACCES, unix.ENODEV, unix.ENXIO,
		unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.EDESTADDRREQ, unix.ENOKEY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
