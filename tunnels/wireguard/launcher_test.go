package wireguard

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemd does what the units ginnel-dataplane.socket (Accept=yes) and
// ginnel-dataplane@.service (StandardInput=socket) make it do.
func systemd(t *testing.T, program string) Socket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dataplane.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, _ := c.(*net.UnixConn).File()
			cmd := exec.Command(program, "--stdin")
			cmd.Stdin, cmd.Stdout = f, f
			cmd.Start()
			f.Close()
			c.Close()
			go cmd.Wait()
		}
	}()
	return Socket{Path: path}
}

func TestPlaneLine(t *testing.T) {
	for want, p := range map[string]Plane{
		"gn-curlew\n":                             {}, // what every version understands
		"gn-curlew no-offload\n":                  {NoOffload: true},
		"gn-curlew no-offload memory=100663296\n": {NoOffload: true, Memory: 96 << 20},
	} {
		if got := p.line("gn-curlew"); got != want {
			t.Errorf("%+v: %q", p, got)
		}
	}
}

func TestLaunchers(t *testing.T) {
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	special, options := systemd(t, program(t)), Plane{NoOffload: true, Memory: 96 << 20}
	special.Plane = options
	launchers := map[string]Launcher{
		"setsid, options": Setsid{Program: program(t), Plane: options},
		"socket, options": special,
		"setsid":          Setsid{Program: program(t)},
		"socket":          systemd(t, program(t)),
		"either socket":   Either(systemd(t, program(t)), Setsid{Program: "/nonexistent"}),
		"either setsid":   Either(Socket{Path: "/nonexistent"}, Setsid{Program: program(t)}),
	}
	for name, l := range launchers {
		t.Run(name, func(t *testing.T) { launcherSuite(t, l) })
	}
}

// launcherSuite is what each Launcher does.
func launcherSuite(t *testing.T, l Launcher) {
	ctx := t.Context()
	must(t, l.Launch(ctx, "gn-curlew"))
	sh(t, "wg show gn-curlew")
	p, ok := Running("gn-curlew")
	if !ok {
		t.Fatal("no data plane holds the lock")
	}
	stat := strings.Fields(sh(t, "ps -o sid=,pid= -p "+sh(t, "cut -d' ' -f1 /run/wireguard/gn-curlew.lock")))
	if _, setsid := l.(Setsid); setsid && stat[0] != stat[1] {
		t.Errorf("it is in session %s of another process, not in %s", stat[0], stat[1])
	}
	if err := l.Launch(ctx, "gn-curlew"); err == nil || !strings.Contains(err.Error(), "running already") {
		t.Errorf("a second one: %v", err)
	}
	if q, _ := Running("gn-curlew"); q != p {
		t.Errorf("the second one disturbed the first: %+v, before %+v", q, p)
	}
	for _, bad := range []string{"eth0", "gn-", "gn-UPPER", "gn-thirteen-long", "gn-../x"} {
		if err := l.Launch(ctx, bad); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("name %q: %v", bad, err)
		}
	}
	sh(t, "ip link del gn-curlew")
	eventually(t, "it ended with its link", func() bool { _, ok := Running("gn-curlew"); return !ok })
	if left := sh(t, "ls -A /run/wireguard"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestLauncherFailures(t *testing.T) {
	err := Socket{Path: "/nonexistent/dataplane.sock"}.Launch(t.Context(), "gn-a")
	if !errors.Is(err, os.ErrNotExist) || hintOf(err) == "" {
		t.Errorf("no socket: %v, hint %q", err, hintOf(err))
	}
	if err := (Setsid{Program: "/nonexistent"}).Launch(t.Context(), "gn-a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	if err := (Setsid{Program: "/bin/true"}).Launch(t.Context(), "gn-a"); err == nil || !strings.Contains(err.Error(), "ended before it answered") {
		t.Errorf("a program that ends: %v", err)
	}
	old := filepath.Join(t.TempDir(), "old") // as version 0.1.0 says it
	must(t, os.WriteFile(old, []byte("#!/bin/sh\nread line <&0; echo \"error refused the device name $line\" >&0\n"), 0o700))
	err = Setsid{Program: old, Plane: Plane{NoOffload: true}}.Launch(t.Context(), "gn-a")
	if err == nil || !strings.Contains(hintOf(err), "of this version") {
		t.Errorf("a program that knows no options: %v, hint %q", err, hintOf(err))
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("enough"))
	defer cancel()
	silent := filepath.Join(t.TempDir(), "silent")
	must(t, os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 3\n"), 0o700))
	if err := (Setsid{Program: silent}).Launch(ctx, "gn-a"); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("a program that says nothing: %v", err)
	}
}

// The process that launched a data plane ends, in whichever way: the device and
// its session stay.
func TestDataPlaneOutlivesUs(t *testing.T) {
	if os.Getenv("GINNEL_TEST_LAUNCH") != "" {
		must(t, Setsid{Program: program(t)}.Launch(t.Context(), "gn-egret"))
		select {} // until killed
	}
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "GINNEL_TEST_LAUNCH=1")
	must(t, cmd.Start())
	eventually(t, "the child has launched a data plane", func() bool {
		return exec.Command("wg", "show", "gn-egret").Run() == nil
	})
	p, _ := Running("gn-egret")
	must(t, cmd.Process.Kill())
	cmd.Wait()
	sh(t, "wg show gn-egret")
	if q, ok := Running("gn-egret"); !ok || p != q {
		t.Errorf("it was %+v and is %+v", p, q)
	}
	d := open(t)
	must(t, d.Create(t.Context(), "gn-egret")) // the next process adopts it
	if q, ok := Running("gn-egret"); !ok || p != q {
		t.Errorf("it was %+v and is %+v after it was adopted", p, q)
	}
}
