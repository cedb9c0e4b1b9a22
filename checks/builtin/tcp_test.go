package builtin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"golang.org/x/sys/unix"
)

func TestTCPSuite(t *testing.T) {
	checktest.Run(t, checktest.Subject{
		Kind: TCP(), Timed: true,
		Good:     checks.Target{Address: serve(t, "127.0.0.1:0", mute)},
		Refusing: &checks.Target{Address: nobody(t)},
		Silent:   &checks.Target{Address: silentHost + ":443"},
	})
}

func TestTCP(t *testing.T) {
	good := serve(t, "127.0.0.1:0", mute)
	good6 := serve(t, "[::1]:0", mute)
	_, port, _ := net.SplitHostPort(good)
	addr := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	for _, test := range []struct {
		name    string
		target  checks.Target
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		sent    int
		got     int
	}{
		{"IPv4", checks.Target{Address: good}, checks.OK, "", "", 1, 1},
		{"IPv6", checks.Target{Address: good6}, checks.OK, "", "", 1, 1},
		{"refused", checks.Target{Address: nobody(t)}, checks.Failed, checks.Refused, checks.PhaseConnect, 1, 1},
		{"no way", checks.Target{Address: noWay + ":443"}, checks.Failed, checks.Unreachable, checks.PhaseRoute, 1, 0},
		{"silent", checks.Target{Address: silentHost + ":443", Timeout: short}, checks.Failed, checks.Timeout, checks.PhaseConnect, 1, 0},
		{"no such name", checks.Target{Address: "avocet.invalid:443", Timeout: short}, checks.Failed, checks.NotResolved, checks.PhaseResolve, 0, 0},
		{"no address of that family", checks.Target{Address: good, Network: "heron", Source: addr("2001:db8::7")}, checks.Unknown, checks.NotRun, checks.PhaseRoute, 0, 0},
		{"an address that is not ours", checks.Target{Address: good, Source: addr("203.0.113.9")}, checks.Unknown, checks.SelfFault, checks.PhaseConnect, 0, 0},
		{"localhost by name", checks.Target{Address: "localhost:" + port, Source: addr("127.0.0.1")}, checks.OK, "", "", 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := check(t, TCP(), test.target)
			expect(t, r, test.verdict, test.reason, test.phase)
			if r.Sent != test.sent || r.Received != test.got {
				t.Errorf("sent %d, received %d, want %d, %d", r.Sent, r.Received, test.sent, test.got)
			}
		})
	}
}

func TestTCPComesFromTheSource(t *testing.T) {
	from := make(chan string, 1)
	good := serve(t, "127.0.0.1:0", func(c net.Conn) {
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		from <- host
	})
	source := []netip.Addr{netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("127.0.0.77")}
	expect(t, check(t, TCP(), checks.Target{Address: good, Source: source}), checks.OK, "", "")
	if got := <-from; got != "127.0.0.77" {
		t.Errorf("came from %s", got)
	}
}

// TestTCPTimesTheHandshake: on loopback the kernel has a time for it.
func TestTCPTimesTheHandshake(t *testing.T) {
	r := check(t, TCP(), checks.Target{Address: serve(t, "127.0.0.1:0", mute)})
	if r.Stamps != checks.KernelStamps || len(r.RTT) != 1 {
		t.Errorf("got %+v", r)
	}
}

// TestTCPAskedAgainIsLoss: a listener whose queue is full lets the first SYN
// fall. The kernel's second one is answered; that is no clean success.
func TestTCPAskedAgainIsLoss(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	waiting, err := net.Dial("tcp", address) // the queue's only place
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	room := time.AfterFunc(300*time.Millisecond, func() {
		if c, _, err := unix.Accept(fd); err == nil {
			unix.Close(c)
		}
	})
	defer room.Stop()
	r := check(t, TCP(), checks.Target{Address: address})
	expect(t, r, checks.Degraded, checks.Loss, checks.PhaseConnect)
	if r.Sent < 2 || r.Received != 1 {
		t.Errorf("got %+v", r)
	}
}

// BenchmarkTCP is one connection, opened and closed, with both ends' work.
func BenchmarkTCP(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			c.Close()
		}
	}()
	c, err := TCP().Make(checks.Target{Address: l.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
		if r := c.Run(ctx); r.Verdict != checks.OK {
			b.Fatal(r)
		}
		cancel()
	}
}
