// Package nstest runs the tests of tunnels on a real kernel, each in a process
// with namespaces of its own. What the tests are about is not its business.
package nstest

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Apart runs the rest of a test in a process with network, mount and process
// namespaces of its own, where it returns true; the sockets of WireGuard are
// files, and files are common to all network namespaces. What the test leaves
// running ends with that process, and so such tests run side by side.
//
//	if !nstest.Apart(t) { return }
func Apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv("GINNEL_TEST_APART") == t.Name() {
		furnish(t)
		return true
	}
	if os.Getuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	for _, tool := range []string{"ip", "wg", "ping", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed: apt-get install iproute2 wireguard-tools iputils-ping nftables", tool)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m")
	// Under -race a process waits for a second before it ends, if not told otherwise.
	cmd.Env = append(os.Environ(), "GINNEL_TEST_APART="+t.Name(), "GINNEL_TEST_DATAPLANE="+Program(t), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	if err != nil {
		t.Fatalf("in its own namespaces: %v", err)
	}
	return false
}

func furnish(t *testing.T) {
	t.Helper()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for dir, kind := range map[string]string{"/run": "tmpfs", "/proc": "proc"} {
		if err := syscall.Mount(kind, dir, kind, 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	Sh(t, "ip link set lo up")
}

// built is the folder that build made; empty: none.
var built string

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "dataplane")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "ginnel-dataplane")
	out, err := exec.Command("go", "build", "-o", path, "github.com/ginnel/ginnel/cmd/ginnel-dataplane").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// Main is a TestMain; the caller exits with what it returns.
func Main(m *testing.M) int {
	flag.Parse()
	// They wait more than they work.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(built)
	return code
}

// Program is the data plane, built for the tests.
func Program(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("GINNEL_TEST_DATAPLANE"); path != "" {
		return path
	}
	if Backend() == "kernel" {
		return "/nonexistent" // nothing needs it, and nothing can build it there
	}
	path, err := build()
	if err != nil {
		t.Fatalf("build ginnel-dataplane: %v", err)
	}
	return path
}

// Backend is the one that the tests are about: "userspace", or what
// GINNEL_TEST_BACKEND says.
func Backend() string { return cmp.Or(os.Getenv("GINNEL_TEST_BACKEND"), "userspace") }

// Sh runs a command line and returns what it printed.
func Sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Eventually waits for a condition that is to come true by itself.
func Eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}
