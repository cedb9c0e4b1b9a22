package wireguard

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Support is what this host has. A nil error means that it is there.
type Support struct {
	Kernel error // why the kernel's WireGuard cannot be used
	TUN    error // why a data plane cannot make a link
}

// cloneDevice makes TUN links. It is a variable for the tests.
var cloneDevice = "/dev/net/tun"

// Probe looks what this host has and creates nothing. The kernel loads its
// module by itself when it is asked for a link of that kind.
func Probe() (Support, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return Support{}, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	return probe(h)
}

func probe(h *netlink.Handle) (Support, error) {
	var s Support
	err := askForImpossible(h)
	switch {
	case errors.Is(err, unix.EINVAL): // it knows the kind, and that no link can be so large
	case errors.Is(err, unix.EPERM):
		return s, NoCapability()
	case errors.Is(err, unix.EOPNOTSUPP):
		s.Kernel = errors.New("the kernel has no WireGuard module")
	case err == nil:
		return s, errors.New("the kernel made a link that it should have refused; we removed it")
	default:
		s.Kernel = fmt.Errorf("the kernel did not say whether it has WireGuard: %w", err)
	}
	s.TUN = tunThere()
	return s, nil
}

// askForImpossible asks for a WireGuard link with an MTU that none can have.
// A kernel without WireGuard finds that out before it looks at the MTU.
func askForImpossible(h *netlink.Handle) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "gn-probe", math.MaxInt32
	link := &netlink.Wireguard{LinkAttrs: attrs}
	err := h.LinkAdd(link)
	if err == nil {
		return h.LinkDel(link)
	}
	return err
}

// tunThere opens the device that makes TUN links, which makes none yet.
func tunThere() error {
	f, err := os.OpenFile(cloneDevice, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Choose names the back end for a new device.
func (s Support) Choose(want Backend) (Backend, error) {
	switch want {
	case Kernel:
		if s.Kernel != nil {
			return "", hinted("leave out backend = \"kernel\" to use a data plane instead, or install the module (modprobe wireguard)",
				"the config asks for WireGuard in the kernel: %w", s.Kernel)
		}
		return Kernel, nil
	case Userspace:
		if s.TUN != nil {
			return "", hinted("modprobe tun; a container needs /dev/net/tun given to it",
				"the config asks for a data plane, which needs a TUN link: %w", s.TUN)
		}
		return Userspace, nil
	case Auto:
		switch {
		case s.Kernel == nil:
			return Kernel, nil
		case s.TUN == nil:
			return Userspace, nil
		}
		return "", hinted("modprobe wireguard, or modprobe tun; a container needs /dev/net/tun given to it",
			"%w (%w; %w)", ErrNoBackend, s.Kernel, s.TUN)
	}
	return "", hinted(`"kernel", "userspace", or leave it out`, "there is no back end %q", string(want))
}
