package builtin

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// inside says that the tests run in a network namespace of their own.
const inside = "GINNEL_TEST_NAMESPACE"

// TestMain starts the tests once more in a network namespace of their own, with
// what they need in it: loopback, and a link behind which nobody answers.
// Nothing of the host's network is changed.
func TestMain(m *testing.M) {
	worker := slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzzworker") })
	if os.Getenv(inside) == "" && !worker {
		os.Exit(runInside())
	}
	if !worker {
		if err := buildNamespace(); err != nil {
			fmt.Fprintln(os.Stderr, "building the tests' namespace:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func runInside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "starting the tests in a namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// In the namespace there is no way but to loopback and to silentLink.
const (
	silentLink = "192.0.2.0/24" // ours is .1; .2 takes everything and says nothing
	silentHost = "192.0.2.2"
	noWay      = "198.51.100.1"
)

func buildNamespace() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	// Links of tests work at once.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0); err != nil {
		return err
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	for _, name := range []string{"near", "far"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	// Ask for a neighbour once, not for three seconds.
	if err := os.WriteFile("/proc/sys/net/ipv4/neigh/near/mcast_solicit", []byte("1"), 0); err != nil {
		return err
	}
	near, err := netlink.LinkByName("near")
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr("192.0.2.1/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(near, address); err != nil {
		return err
	}
	return netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: near.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: net.ParseIP(silentHost), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	})
}
