package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a link: a name at a node.
type End struct {
	Node *Node
	Link string
	Addr netip.Prefix // with the host's own address; zero: none

	Addr6 netip.Prefix // an IPv6 one besides; zero: none
}

// Cable joins two ends by a veth pair and brings both up.
func Cable(a, b End) error {
	err := a.Node.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: a.Link}, PeerName: b.Link,
			PeerNamespace: netlink.NsFd(b.Node.net),
		})
	})
	if err != nil {
		return fmt.Errorf("cable %s:%s to %s:%s: %w", a.Node.Name, a.Link, b.Node.Name, b.Link, err)
	}
	for _, e := range []End{a, b} {
		if err := e.up(); err != nil {
			return err
		}
	}
	return nil
}

// Tap makes the end a TAP link and returns the other side of it: each read is
// one frame that the node sent, each write one that it receives.
func (e End) Tap() (*os.File, error) {
	var f *os.File
	err := e.Node.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("opening /dev/net/tun: %w", err)
		}
		req, err := unix.NewIfreq(e.Link)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return fmt.Errorf("tap: %w", err)
		}
		f = os.NewFile(uintptr(fd), e.Node.Name+":"+e.Link)
		link, err := netlink.LinkByName(e.Link)
		if err != nil {
			return err
		}
		// Room for seconds: on a busy machine the reader may come late, and
		// what the link drops then would look like loss of somebody else's.
		return netlink.LinkSetTxQLen(link, 8192)
	})
	if err != nil {
		return nil, fmt.Errorf("link %s:%s: %w", e.Node.Name, e.Link, err)
	}
	return f, e.up()
}

// up gives the end its address and brings it up.
func (e End) up() error {
	err := e.Node.Do(func() error {
		link, err := netlink.LinkByName(e.Link)
		if err != nil {
			return err
		}
		for _, a := range []netip.Prefix{e.Addr, e.Addr6} {
			if !a.IsValid() {
				continue
			}
			one := &netlink.Addr{IPNet: ipNet(a)}
			if a.Addr().Is6() {
				one.Flags = unix.IFA_F_NODAD // there is nobody else, and no second to wait
			}
			if err := netlink.AddrAdd(link, one); err != nil {
				return fmt.Errorf("address %s: %w", a, err)
			}
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		return fmt.Errorf("link %s:%s: %w", e.Node.Name, e.Link, err)
	}
	return nil
}

// MAC is the end's hardware address.
func (e End) MAC() (mac net.HardwareAddr, err error) {
	err = e.Node.Do(func() error {
		link, err := netlink.LinkByName(e.Link)
		if err == nil {
			mac = link.Attrs().HardwareAddr
		}
		return err
	})
	return mac, err
}

// Neighbour makes e know peer's hardware address for good, so that a line that
// is cut far away is silent, as in life, and not "host unreachable" from the
// next hop.
func (e End) Neighbour(peer End) error {
	mac, err := peer.MAC()
	if err != nil {
		return err
	}
	return e.Node.Do(func() error {
		link, err := netlink.LinkByName(e.Link)
		if err != nil {
			return err
		}
		for _, a := range []netip.Prefix{peer.Addr, peer.Addr6} {
			if !a.IsValid() {
				continue
			}
			err := netlink.NeighSet(&netlink.Neigh{
				LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: a.Addr().AsSlice(), HardwareAddr: mac,
			})
			if err != nil {
				return fmt.Errorf("neighbour %s: %w", a, err)
			}
		}
		return nil
	})
}

// Route sends dst via the neighbour via. A zero dst is the default route of
// via's family.
func (n *Node) Route(dst netip.Prefix, via netip.Addr) error {
	r := &netlink.Route{Gw: via.AsSlice()}
	if dst.IsValid() {
		r.Dst = ipNet(dst)
	}
	if err := n.Do(func() error { return netlink.RouteAdd(r) }); err != nil {
		return fmt.Errorf("route %s via %s at %s: %w", dst, via, n.Name, err)
	}
	return nil
}

// SetLink brings one of the node's links up or down.
func (n *Node) SetLink(name string, up bool) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
