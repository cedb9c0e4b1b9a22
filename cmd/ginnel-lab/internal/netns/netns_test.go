package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The tests run in a box: TestMain starts this test program again as its
// first process, and that once more as the tests.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	switch role := os.Getenv("NETNS_TEST"); role {
	case "":
		os.Exit(runBoxed())
	case "init":
		_ = os.Setenv("NETNS_TEST", "tests")
		out, err := os.MkdirTemp("", "netns")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(Init(out, out, os.Args[1:], nil))
	default:
		os.Exit(m.Run())
	}
}

func runBoxed() int {
	box := Box{Args: os.Args[1:], Env: append(os.Environ(), "NETNS_TEST=init")}
	cmd, err := box.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code, err := Wait(cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

func newNode(t *testing.T, name string) *Node {
	t.Helper()
	n, err := New(name, "127.0.0.1 localhost\n192.0.2.10 hub-north.example.net\n", "192.0.2.53")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNodesHaveTheirOwnFilesAndName(t *testing.T) {
	a, b := newNode(t, "avocet"), newNode(t, "bittern")
	for _, path := range []string{"/run/x", "/etc/ginnel/x", "/var/lib/ginnel/x"} {
		if err := a.WriteFile(path, "of avocet", 0o600); err != nil {
			t.Fatal(err)
		}
		if text, err := b.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("bittern sees %s: %q, %v", path, text, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the box sees avocet's %s", path)
		}
		if text, err := a.ReadFile(path); err != nil || text != "of avocet" {
			t.Errorf("avocet reads %s: %q, %v", path, text, err)
		}
	}
	out, err := a.Run(t.Context(), "sh", "-c", "uname -n; ls -A /run/wireguard 2>/dev/null; grep -c hub-north /etc/hosts")
	if err != nil || out != "avocet\n1\n" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestCableRoutesAndListeners(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	at := netip.MustParsePrefix("192.168.10.1/24")
	to := netip.MustParsePrefix("192.168.10.20/24")
	if err := Cable(End{Node: a, Link: "eth1", Addr: at}, End{Node: b, Link: "eth0", Addr: to}); err != nil {
		t.Fatal(err)
	}
	if err := b.Route(netip.Prefix{}, at.Addr()); err != nil {
		t.Fatal(err)
	}
	l, err := b.Listen("tcp", "192.168.10.20:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := a.Dial(ctx, "tcp", "192.168.10.20:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := b.SetLink("eth0", false); err != nil {
		t.Fatal(err)
	}
	if conn, err := b.Dial(ctx, "tcp", "192.168.10.1:80"); err == nil {
		conn.Close()
		t.Error("connected over a link that is down")
	}
}

func TestRunTellsHowACommandEnded(t *testing.T) {
	n := newNode(t, "n")
	_, err := n.Run(t.Context(), "sh", "-c", "echo no >&2; exit 3")
	f, ok := errors.AsType[*Failure](err)
	if !ok || f.Code != 3 || f.Stderr != "no\n" || f.Node != "n" {
		t.Errorf("the failure is %+v", err)
	}
	out, err := n.RunWith(t.Context(), "a question", "cat")
	if err != nil || out != "a question" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestInterruptReachesTheWholeGroup(t *testing.T) {
	n := newNode(t, "n")
	ctx, cancel := context.WithCancel(t.Context())
	cmd := n.Command(ctx, "sh", "-c", "sh -c 'echo $$; exec sleep 1000'; true")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32)
	k, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("the command ended well, want an interrupt")
	}
	child := "/proc/" + strings.TrimSpace(string(buf[:k])) + "/cmdline"
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		line, _ := os.ReadFile(child)
		if !strings.Contains(string(line), "sleep") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("its child goes on")
		}
	}
}

func TestOrphansAreBuried(t *testing.T) {
	n := newNode(t, "n")
	if _, err := n.Run(t.Context(), "sh", "-c", "(sleep 0.1 &) ; true"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command("sh", "-c", "cat /proc/[0-9]*/stat | grep -c '(sleep)'").CombinedOutput()
		if strings.TrimSpace(string(out)) == "0" {
			return
		}
		if time.Now().After(end) {
			ps, _ := exec.Command("ps", "-ef").CombinedOutput()
			t.Fatalf("still there: %s %v\n%s", out, err, ps)
		}
	}
}
