package marks

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// The tests run in a box: TestMain starts this test program again as its first
// process, and that once more as the tests.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	switch os.Getenv("MARKS_TEST") {
	case "":
		cmd, err := netns.Box{Args: os.Args[1:], Env: append(os.Environ(), "MARKS_TEST=init")}.Start()
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
		_ = os.Setenv("MARKS_TEST", "tests")
		out, err := os.MkdirTemp("", "marks")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(netns.Init(out, out, os.Args[1:], nil))
	default:
		os.Exit(m.Run())
	}
}

// pair is two nodes that are neighbours; here is at a, there at b.
func pair(t *testing.T) (a, b *netns.Node) {
	t.Helper()
	var err error
	if a, err = netns.New("a", "", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if b, err = netns.New("b", "", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	ends := []netns.End{
		{Node: a, Link: "eth0", Addr: netip.PrefixFrom(here4, 24), Addr6: netip.PrefixFrom(here6, 64)},
		{Node: b, Link: "eth0", Addr: netip.PrefixFrom(there4, 24), Addr6: netip.PrefixFrom(there6, 64)},
	}
	if err := netns.Cable(ends[0], ends[1]); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		n    *netns.Node
		dst  netip.Prefix
		link string
	}{{a, netip.PrefixFrom(there4, 24), "eth0"}, {b, netip.PrefixFrom(here4, 24), "eth0"}} {
		if _, err := r.n.Run(t.Context(), "ip", "route", "add", r.dst.Masked().String(), "dev", r.link); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// drop has a node's packet filter keep something out.
func drop(t *testing.T, n *netns.Node, what string) {
	t.Helper()
	_, err := n.Run(t.Context(), "nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c "+what+" drop")
	if err != nil {
		t.Fatal(err)
	}
}

func eventually[T any](t *testing.T, what string, want T, get func() T) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := get()
		if reflect.DeepEqual(got, want) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: got %v, want %v", what, got, want)
			return
		}
	}
}
