package builtin

import (
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// node is a machine: a network namespace of its own. The nil node is this one.
type node struct {
	fd  int
	net *netlink.Handle
}

// newNode makes one that forwards, and tells of each packet that dies in it.
func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{}
	var err error
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the thread ends in that namespace
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		for file, text := range map[string]string{
			"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
			"ipv4/icmp_msgs_per_sec": "1000000", "ipv4/icmp_msgs_burst": "10000", "ipv4/conf/all/rp_filter": "0",
			"ipv6/conf/default/accept_dad": "0",
			// By addresses, protocol, ports and flow label as they are in the packet:
			// policy 1 would take the hash of the sender's socket, which a veth hands on.
			"ipv4/fib_multipath_hash_policy": "3", "ipv4/fib_multipath_hash_fields": "0x3f",
			"ipv6/fib_multipath_hash_policy": "3", "ipv6/fib_multipath_hash_fields": "0x3f",
		} {
			if err = os.WriteFile("/proc/sys/net/"+file, []byte(text), 0); err != nil {
				return
			}
		}
		n.net, err = netlink.NewHandle()
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.net.Close(); unix.Close(n.fd) })
	lo, err := n.net.LinkByName("lo")
	if err == nil {
		err = n.net.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) handle() *netlink.Handle {
	if n == nil {
		return &netlink.Handle{}
	}
	return n.net
}

// in runs f in the node's namespace. What f opens stays there.
func (n *node) in(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // as above
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// join lays a cable between two nodes; the link is called name at a, and
// name-far at b.
func join(t *testing.T, name string, a, b *node, mtu int, addressesOfA, addressesOfB []string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}, PeerName: name + "-far"}))
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(name); err == nil {
			netlink.LinkDel(l)
		}
	})
	for _, end := range []struct {
		node      *node
		name      string
		addresses []string
	}{{a, name, addressesOfA}, {b, name + "-far", addressesOfB}} {
		l, err := netlink.LinkByName(end.name)
		must(err)
		if end.node != nil {
			must(netlink.LinkSetNsFd(l, end.node.fd))
		}
		l, err = end.node.handle().LinkByName(end.name)
		must(err)
		for _, text := range end.addresses {
			x, err := netlink.ParseAddr(text)
			must(err)
			if x.IP.To4() == nil {
				x.Flags |= unix.IFA_F_NODAD
			}
			must(end.node.handle().AddrAdd(l, x))
		}
		must(end.node.handle().LinkSetUp(l))
	}
}

// route adds one by gateways, several of which share it.
func (n *node) route(t *testing.T, to string, gateways ...string) {
	t.Helper()
	_, dst, err := net.ParseCIDR(to)
	if err != nil {
		t.Fatal(err)
	}
	r := &netlink.Route{Dst: dst}
	if len(gateways) == 1 {
		r.Gw = net.ParseIP(gateways[0])
	} else {
		for _, g := range gateways {
			r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{Gw: net.ParseIP(g)})
		}
	}
	if err := n.handle().RouteReplace(r); err != nil {
		t.Fatalf("route to %s: %v", to, err)
	}
	if n == nil {
		t.Cleanup(func() { netlink.RouteDel(r) })
	}
}

// serve listens in the node, and hands each connection to f.
func (n *node) serve(t *testing.T, address string, f func(net.Conn)) {
	t.Helper()
	var l net.Listener
	n.in(t, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
}

// set writes a sysctl of the node.
func (n *node) set(t *testing.T, file, text string) {
	t.Helper()
	n.in(t, func() error { return os.WriteFile("/proc/sys/net/"+file, []byte(text), 0) })
}

// neighbour is an entry that sends packets for an address into the void.
func neighbour(t *testing.T, n *node, link, address string) *netlink.Neigh {
	t.Helper()
	l, err := n.handle().LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	return &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(address), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
}
