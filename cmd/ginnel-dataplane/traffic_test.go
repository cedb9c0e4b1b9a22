package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ends runs a data plane here and one in another namespace, linked by a tunnel
// over a WAN.
func ends(t *testing.T, args ...string) (here, there int) {
	t.Helper()
	sh(t, `set -e; ip netns add far; ip -n far link set lo up; ip link add wan type veth peer name wan netns far
		ip addr add 192.0.2.1/24 dev wan; ip link set wan up; ip -n far addr add 192.0.2.2/24 dev wan; ip -n far link set wan up`)
	t.Cleanup(func() { sh(t, "ip link del wan; ip netns del far") })
	here = running(t, "gn-near", args...).Process.Pid
	far(t, func() { there = running(t, "gn-far", args...).Process.Pid })
	sh(t, `set -e; umask 077; cd /run; wg genkey > near; wg genkey > far
		wg set gn-near private-key near listen-port 51820 peer $(wg pubkey < far) endpoint 192.0.2.2:51820 allowed-ips 100.64.0.2/32
		wg set gn-far private-key far listen-port 51820 peer $(wg pubkey < near) endpoint 192.0.2.1:51820 allowed-ips 100.64.0.1/32
		ip addr add 100.64.0.1/32 dev gn-near; ip link set gn-near up; ip route add 100.64.0.2/32 dev gn-near
		ip -n far addr add 100.64.0.2/32 dev gn-far; ip -n far link set gn-far up; ip -n far route add 100.64.0.1/32 dev gn-far`)
	return here, there
}

// far runs f in the other namespace, on a thread that ends with it.
func far(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/far")
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	must(t, <-done)
}

// transfer sends bytes through the tunnel and back.
func transfer(t *testing.T, size int64) {
	t.Helper()
	var l net.Listener
	far(t, func() {
		var err error
		l, err = net.Listen("tcp", "100.64.0.2:7")
		must(t, err)
	})
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := net.DialTimeout("tcp", "100.64.0.2:7", 10*time.Second)
	must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		io.CopyN(c, zeros{}, size)
		c.(*net.TCPConn).CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("%d of %d bytes came back: %v", n, size, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// anonymous is the memory of its own that a process has in use, in KiB.
func anonymous(t *testing.T, pid int) int {
	t.Helper()
	kib, err := strconv.Atoi(sh(t, fmt.Sprintf("awk '/RssAnon/ {print $2}' /proc/%d/status", pid)))
	must(t, err)
	return kib
}

// 5 MiB is the limit that the project set itself for an idle data plane.
func TestMemory(t *testing.T) {
	here, there := ends(t)
	sh(t, "ping -c3 -i0.2 100.64.0.2")
	for _, pid := range []int{here, there} {
		if kib := anonymous(t, pid); kib > 5<<10 {
			t.Errorf("an idle data plane has %d KiB", kib)
		}
	}
	if testing.Short() {
		return // it takes some ticks of the trimmer to see memory given back
	}
	peak := 0
	for range 8 { // how much a transfer takes depends on how busy the machine is
		transfer(t, 256<<20)
		if peak = anonymous(t, here); peak >= 30<<10 {
			break
		}
	}
	if peak < 30<<10 {
		t.Fatalf("traffic took only %d KiB: there is nothing to give back", peak)
	}
	eventually(t, fmt.Sprintf("of %d KiB half is given back", peak), func() bool {
		return anonymous(t, here) < peak/2 || waiting(time.Second)
	})
}

// waiting is false, after a pause.
func waiting(d time.Duration) bool { time.Sleep(d); return false }

func TestWithoutOffload(t *testing.T) {
	ends(t, "--no-offload")
	transfer(t, 8<<20)
}

// The switch is thrown on the sockets that wireguard-go opens, and again after
// it opened others.
func TestWithoutOffloadSockets(t *testing.T) {
	p, err := start("gn-plain", options{mtu: 1420, plain: true, limit: &limiter{}})
	must(t, err)
	lost := p.serve()
	defer func() { p.close(); <-lost }()
	sh(t, "ip link set gn-plain up")
	merging := func() (sockets, on int) {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		for _, e := range entries {
			fd, _ := strconv.Atoi(e.Name())
			if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || kind != syscall.IPPROTO_UDP {
				continue
			}
			sockets++
			gro, err := unix.GetsockoptInt(fd, syscall.IPPROTO_UDP, unix.UDP_GRO)
			must(t, err)
			on += gro
		}
		return sockets, on
	}
	for _, change := range []string{"true", "wg set gn-plain listen-port 51877", "ip link set gn-plain down; ip link set gn-plain up"} {
		sh(t, change)
		eventually(t, change+": sockets are open and merge nothing", func() bool {
			sockets, on := merging()
			return sockets == 2 && on == 0
		})
	}
	if !strings.Contains(sh(t, "wg show gn-plain"), "51877") {
		t.Error("the port is not as set")
	}
}

func TestTrimmerLooksForTheEndOfTraffic(t *testing.T) {
	text := "private_key=00\npublic_key=aa\nrx_bytes=%d\ntx_bytes=%d\npublic_key=bb\nrx_bytes=1\ntx_bytes=0\nerrno=0\n"
	var in, out int64
	trim := newTrimmer(func() int64 {
		return carried(func() (string, error) { return fmt.Sprintf(text, in, out), nil })
	})
	defer trim.stop()
	for i, step := range []struct {
		in, out int64 // since the last look
		ceased  bool
	}{
		{0, 0, false}, {0, 0, false}, {0, 0, false}, {0, 0, false}, // idle from the start: nothing to give back
		{8 << 20, 0, false}, {0, 0, false}, {0, 8 << 20, false}, // a pause is no end
		{0, 0, false}, {1000, 1000, false}, {0, 0, true}, // keepalives are no traffic
		{0, 0, false}, {0, 0, false}, {0, 0, false},
		{600 << 10, 600 << 10, false}, {0, 0, false}, {0, 0, false}, {0, 0, true},
	} {
		in, out = in+step.in, out+step.out
		if got := trim.look(); got != step.ceased {
			t.Errorf("look %d: %v", i, got)
		}
	}
}
