package county

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// The tests run in a box: TestMain starts this test program again as its first
// process, and that once more as the tests.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	switch os.Getenv("COUNTY_TEST") {
	case "":
		cmd, err := netns.Box{Args: os.Args[1:], Env: append(os.Environ(), "COUNTY_TEST=init")}.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		code, err := netns.Wait(cmd)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	case "init":
		_ = os.Setenv("COUNTY_TEST", "tests")
		out, err := os.MkdirTemp("", "county")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(netns.Init(out, out, os.Args[1:], nil))
	default:
		os.Exit(m.Run())
	}
}

// pingNode is a node that answers itself, and has no way to anybody else.
func pingNode(t *testing.T) *netns.Node {
	t.Helper()
	n, err := netns.New("n", "127.0.0.1 localhost\n", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Run(t.Context(), "ip", "route", "add", "blackhole", "198.51.100.0/24"); err != nil {
		t.Fatal(err)
	}
	// Silent, as a line that is cut: what goes there is gone.
	for _, c := range [][]string{
		{"ip", "link", "add", "void", "type", "veth", "peer", "name", "nobody"},
		{"ip", "link", "set", "nobody", "up"},
		{"ip", "addr", "add", "192.0.2.1/24", "dev", "void"},
		{"ip", "link", "set", "void", "up"},
		{"ip", "neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", "void", "nud", "permanent"},
	} {
		if _, err := n.Run(t.Context(), c...); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

var (
	self   = netip.MustParseAddr("127.0.0.1")
	silent = netip.MustParseAddr("192.0.2.2")
)

func TestPingCountsAnswersAndLosses(t *testing.T) {
	n := pingNode(t)
	for _, size := range []int{shortPing, longPing} {
		seen, err := ping(t.Context(), n, self, time.Millisecond, 100, size)
		if err != nil || seen.Sent != 100 || seen.Answered != 100 || seen.Lost() != 0 || seen.Overrun != 0 {
			t.Errorf("to itself, %d bytes: %+v %v", size, counts(seen), err)
		}
	}
	seen, err := Ping(t.Context(), n, silent, time.Millisecond, 50)
	if err != nil || seen.Sent != 50 || seen.Answered != 0 || seen.Lost() != 50 {
		t.Errorf("to nobody: %+v %v", counts(seen), err)
	}
	seen, err = Ping(t.Context(), n, netip.MustParseAddr("198.51.100.1"), time.Millisecond, 50)
	if err != nil || seen.Refused != 50 || seen.Lost() != 50 {
		t.Errorf("where there is no way: %+v %v", counts(seen), err)
	}
}

// What our own socket had no room for is no loss.
func TestOverrunIsNoLoss(t *testing.T) {
	p, err := newPinger(pingNode(t), shortPing)
	if err != nil {
		t.Fatal(err)
	}
	room(p.conn, 1) // as little as the kernel gives
	const count = 500
	if err := p.send(t.Context(), self, time.Microsecond, count); err != nil {
		t.Fatal(err)
	}
	p.listen() // only now
	p.settle()
	seen := p.end()
	if seen.Overrun == 0 || seen.Answered == 0 || seen.Answered+seen.Overrun != count || seen.Lost() != 0 {
		t.Errorf("%+v, lost %d", counts(seen), seen.Lost())
	}
}

// A loss is one even while other pings fill every socket of the node.
func TestLossIsNoOverrun(t *testing.T) {
	n := pingNode(t)
	p, err := newPinger(n, shortPing)
	if err != nil {
		t.Fatal(err)
	}
	room(p.conn, 1)
	const count = 500
	if err := p.send(t.Context(), silent, time.Microsecond, count); err != nil {
		t.Fatal(err)
	}
	if _, err := Ping(t.Context(), n, self, 100*time.Microsecond, count); err != nil {
		t.Fatal(err)
	}
	p.listen()
	p.settle()
	if seen := p.end(); seen.Overrun != 0 || seen.Lost() != count {
		t.Errorf("%+v, lost %d", counts(seen), seen.Lost())
	}
}

// counts is what was seen, without the times.
func counts(p Pinged) Pinged {
	p.RTT = nil
	return p
}
