package plugin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// instanceEnv makes the test's own program an instance of ginnel-check@.service,
// with the offers of a folder.
const instanceEnv = "GINNEL_TEST_INSTANCE"

// beInstance is main of an instance.
func beInstance() {
	f := os.NewFile(3, "lease")
	conn, err := net.FileConn(f)
	f.Close()
	if err == nil {
		err = Instance(context.Background(), conn.(*net.UnixConn), os.Getenv(instanceEnv), Options{Owner: uint32(os.Getuid())})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// beside stands in for systemd: it starts an instance for each connection, and
// kills all that is in it when its main process ends. What the unit adds, a user
// without rights and limits, is tried in the VM (packaging/vm).
func beside(t *testing.T, dir string) (socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "host") // short: it is part of a socket's name
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(folder, "check.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		os.RemoveAll(folder)
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go instance(conn.(*net.UnixConn), dir, folder)
		}
	}()
	return socket
}

func instance(conn *net.UnixConn, dir, tmp string) {
	f, err := conn.File()
	conn.Close()
	if err != nil {
		return
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{instanceEnv + "=" + dir, "TMPDIR=" + tmp, "GORACE=atexit_sleep_ms=0"}
	cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, os.Stderr
	if err := cmd.Start(); err == nil {
		f.Close()
		_ = cmd.Wait()
	}
}

func logTo(l *logged) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// hosted loads a stage whose program runs in an instance.
func hosted(t *testing.T, s stage) checks.Kind {
	t.Helper()
	o := options()
	o.Host = beside(t, s.dir)
	kinds, err := s.load(t, o)
	if err != nil || len(kinds) != 1 {
		t.Fatalf("%d kinds, %v", len(kinds), err)
	}
	return kinds[0]
}

// TestHosted does in an instance what the other tests do with a child.
func TestHosted(t *testing.T) {
	s := set(t, "puppet", "an argument")
	k := hosted(t, s)
	if st := k.Standing(); st.State != checks.ProgramRunning || st.Weaker != "" {
		t.Errorf("%+v", st)
	}
	old := pidOf(t, k)
	if parent := parentOf(t, old); parent == os.Getpid() {
		t.Error("it is a child of ours")
	}
	if args := run(t, k, "args").Detail; !strings.HasSuffix(args, "/ginnel-check-puppet an argument") {
		t.Error(args)
	}
	if env := run(t, k, "env").Detail; strings.Contains(env, instanceEnv) || strings.Contains(env, "TMPDIR") {
		t.Error(env)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the plugin is back", func() bool { return run(t, k, "").Verdict == checks.OK })
	last := pidOf(t, k)
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the plugin is gone", func() bool { return !alive(last) })
}

func parentOf(t *testing.T, pid int) (parent int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	if _, err := fmt.Sscanf(rest[2:], "%d", &parent); err != nil {
		t.Fatal(err)
	}
	return parent
}

// TestInstanceLooksItself asks for what nobody offers, and changes the program.
func TestInstanceLooksItself(t *testing.T) {
	s := set(t, "puppet")
	o := options()
	o.Host = beside(t, s.dir)
	for what, want := range map[string]string{
		"/bin/sh": s.dir + `: no offer of kind "/bin/sh"`,
		"puppet":  s.program + ": its sha256 is ",
	} {
		if what == "puppet" {
			edit(t, s, "sha256 = \"", "sha256 = \"00000000", 8)
		}
		p, err := prepare(Offer{Kind: what}, o, order{Kind: what, Plugin: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLeaseEnds kills an agent: the instance and what is in it are gone.
func TestLeaseEnds(t *testing.T) {
	s := set(t, "puppet", "no-watch")
	agent := exec.Command("/proc/self/exe")
	agent.Env = append(os.Environ(), hostEnv+"="+s.dir, "GINNEL_TEST_SYSTEMD="+beside(t, s.dir))
	agent.Stderr = os.Stderr
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	plugin, e := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || e != nil || !alive(plugin) || parentOf(t, plugin) == agent.Process.Pid {
		t.Fatalf("the agent says %q, %v", line, err)
	}
	agent.Process.Kill()
	killed := time.Now()
	agent.Wait()
	until(t, "the plugin is gone", func() bool { return !alive(plugin) })
	t.Logf("gone after %v", time.Since(killed).Round(time.Millisecond))
}

// TestLeaseOfStrangers takes no more than it asked for from the other side.
func TestLeaseOfStrangers(t *testing.T) {
	folder := t.TempDir()
	socket := filepath.Join(folder, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, say := range map[string]string{
		"no JSON":       "hello\n",
		"endless line":  strings.Repeat("x", 2*parcelMost),
		"hangs up":      "",
		"refuses":       `{"error":"not today"}` + "\n",
		"ended already": `{"ended":"exit status 3","code":3}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			go func() {
				if c, err := l.Accept(); err == nil {
					fmt.Fprint(c, say)
					c.Close()
				}
			}()
			p, err := prepare(Offer{Kind: "puppet"}, Options{Host: socket}, order{Kind: "puppet"})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Start(t.Context()); err == nil {
				t.Error("it started")
			}
		})
	}
}

// TestLateAnswerIsNobodysElse: an instance that is late with a connection has lost the
// lease, for its answer would be taken for that to the next request.
func TestLateAnswerIsNobodysElse(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	late := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintln(c, `{"started":true,"sockets":"/nowhere"}`)
		<-late
		fmt.Fprintln(c, `{"error":"of the first"}`)
		io.Copy(io.Discard, c)
	}()
	p, err := prepare(Offer{Kind: "puppet"}, Options{Host: socket}, order{Kind: "puppet"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.body.dial(ctx, "/nowhere/s"); err == nil {
		t.Fatal("a connection from nobody")
	}
	close(late)
	if _, err := p.body.dial(t.Context(), "/nowhere/s"); err == nil || strings.Contains(err.Error(), "of the first") {
		t.Errorf("the second request got %v", err)
	}
	<-p.ended
}
