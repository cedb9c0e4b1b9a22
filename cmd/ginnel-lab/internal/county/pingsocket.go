package county

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// openPing opens a socket of the kernel's own sort for pings, with an identifier
// that it chose. A raw one would not do: it is given every ICMP packet of the
// node, and the kernel counts those that it dropped together, ours and others'.
func openPing(from *netns.Node) (conn *net.UDPConn, id uint16, err error) {
	if err := from.Sysctl("net.ipv4.ping_group_range", "0 0"); err != nil {
		return nil, 0, err
	}
	err = from.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "ping")
		defer f.Close()
		if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
			return err
		}
		c, err := net.FilePacketConn(f)
		if err == nil {
			conn = c.(*net.UDPConn)
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	room(conn, 8<<20)
	return conn, uint16(conn.LocalAddr().(*net.UDPAddr).Port), nil
}

// openRefusals opens a socket that takes what refuses pings with an identifier.
func openRefusals(from *netns.Node, id uint16) (*net.IPConn, error) {
	raw, err := bpf.Assemble(refusalsOf(id))
	if err != nil {
		return nil, err
	}
	conn, err := from.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return nil, err
	}
	if err := ipv4.NewPacketConn(conn).SetBPF(raw); err != nil {
		conn.Close()
		return nil, err
	}
	room(conn.(*net.IPConn), 8<<20)
	return conn.(*net.IPConn), nil
}

// room gives a socket so many bytes, or as much as the host allows.
func room(conn syscall.Conn, bytes int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
		}
	})
}

// refusalsOf lets "unreachable" through that has an echo request with an
// identifier in it, which is behind 8 bytes of its own and an IPv4 header of 20.
func refusalsOf(id uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X: the length of the outer IPv4 header
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(ipv4.ICMPTypeDestinationUnreachable), SkipTrue: 3},
		bpf.LoadIndirect{Off: 8 + 20 + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(id), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
}

// drops is how many packets the kernel dropped because the socket was full:
// SK_MEMINFO_DROPS of SO_MEMINFO; see sock_diag(7).
func drops(conn syscall.Conn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_ = raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			info[8] = 0
		}
	})
	return int(info[8])
}
