package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMain runs the tests in a process with network, mount and process
// namespaces of its own, with the program built for them. What they leave
// running ends with it.
func TestMain(m *testing.M) {
	if os.Getenv("GINNEL_TEST_APART") != "" {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "make this namespace our own:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		os.Exit(1)
	}
	os.Exit(apart())
}

func apart() int {
	dir, err := os.MkdirTemp("", "dataplane")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X main.version=1.2.3", "-o", dir+"/ginnel-dataplane", ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), "GINNEL_TEST_APART="+dir+"/ginnel-dataplane")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in its own namespaces:", err)
		return 1
	}
	return 0
}

func furnish() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	for dir, kind := range map[string]string{"/run": "tmpfs", "/proc": "proc"} {
		if err := syscall.Mount(kind, dir, kind, 0, ""); err != nil {
			return err
		}
	}
	return exec.Command("ip", "link", "set", "lo", "up").Run()
}

func sh(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

func answers(name string) bool { return exec.Command("wg", "show", name).Run() == nil }

func program() string { return os.Getenv("GINNEL_TEST_APART") }

// running starts the program for a device and waits until it answers.
func running(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(), append(args, name)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.Remove(socketPath(name))
		os.Remove(lockPath(name))
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
	eventually(t, name+" answers", func() bool { return answers(name) })
	return cmd
}

func left(t *testing.T) string {
	t.Helper()
	return sh(t, "ls -A /run/wireguard; ip -o link | grep -o 'gn-[a-z0-9-]*' || true")
}

func TestEndsWithoutATrace(t *testing.T) {
	for name, end := range map[string]func(p *os.Process){
		"SIGTERM":   func(p *os.Process) { p.Signal(syscall.SIGTERM) },
		"link gone": func(*os.Process) { sh(t, "ip link del gn-a") },
		"renamed, and the socket taken away": func(*os.Process) {
			sh(t, "ip link set gn-a name elsewhere; rm /run/wireguard/gn-a.sock")
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := running(t, "gn-a")
			end(cmd.Process)
			defer time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }).Stop() // should it not end
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if trace := left(t); trace != "" {
				t.Errorf("left behind: %s", trace)
			}
		})
	}
}

// wg(8) removes a socket that refuses it, and a new one does for a moment.
func TestStartsWhileOthersLook(t *testing.T) {
	done := make(chan struct{})
	var looker sync.WaitGroup
	defer looker.Wait()
	defer close(done)
	looker.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			c, err := net.Dial("unix", socketPath("gn-a"))
			if err == nil {
				c.Close()
				time.Sleep(time.Millisecond)
			} else if errors.Is(err, syscall.ECONNREFUSED) {
				os.Remove(socketPath("gn-a"))
			}
		}
	})
	for range 20 {
		cmd := running(t, "gn-a")
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		must(t, cmd.Wait())
	}
}

// The agent takes the lock for a moment to see whether anybody has it.
func TestStartsWhileTheLockIsTried(t *testing.T) {
	f, err := os.Create(lockPath("gn-a"))
	must(t, err)
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_SH))
	time.AfterFunc(50*time.Millisecond, func() { f.Close() })
	running(t, "gn-a")
}

// A socket that somebody removed comes back: the device has sessions.
func TestSocketComesBack(t *testing.T) {
	cmd := running(t, "gn-a")
	for range 3 {
		must(t, os.Remove(socketPath("gn-a")))
		eventually(t, "it answers again", func() bool { return answers("gn-a") })
	}
	must(t, cmd.Process.Signal(syscall.Signal(0)))
}

// Of many that are started at once for one name one lives, over a dead
// socket too, and in whichever network namespaces: the socket is a file.
func TestOneForEachName(t *testing.T) {
	sh(t, "ip netns add far")
	t.Cleanup(func() { sh(t, "ip netns del far") })
	first := running(t, "gn-a")
	must(t, first.Process.Kill())
	first.Wait()
	if _, err := os.Stat(socketPath("gn-a")); err != nil {
		t.Fatal("no dead socket is left: the test tests nothing")
	}
	ended := make(chan error)
	var all []*exec.Cmd
	for i := range 8 {
		cmd := exec.Command(program(), "gn-a")
		if i%2 == 1 {
			cmd = exec.Command("ip", "netns", "exec", "far", program(), "gn-a")
		}
		must(t, cmd.Start())
		all = append(all, cmd)
		go func() { ended <- cmd.Wait() }()
	}
	for range 7 {
		if err := <-ended; err == nil {
			t.Error("one ended as if all were well")
		}
	}
	eventually(t, "the one that is left answers", func() bool { return answers("gn-a") })
	for _, cmd := range all {
		cmd.Process.Signal(syscall.SIGTERM)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if trace := left(t); trace != "" {
		t.Errorf("left behind: %s", trace)
	}
}

// A port that is taken is refused openly, and can be had when it is free.
func TestPortTaken(t *testing.T) {
	running(t, "gn-a")
	running(t, "gn-b")
	sh(t, "wg set gn-a listen-port 51820; ip link set gn-a up; ip link set gn-b up")
	if out, err := exec.Command("wg", "set", "gn-b", "listen-port", "51820").CombinedOutput(); err == nil {
		t.Errorf("it said nothing of the port being taken: %s", out)
	}
	sh(t, "ip link del gn-a")
	eventually(t, "gn-b gets the port", func() bool { return exec.Command("wg", "set", "gn-b", "listen-port", "51820").Run() == nil })
}

func TestVersion(t *testing.T) {
	if got := sh(t, program()+" --version"); got != "ginnel-dataplane 1.2.3" {
		t.Errorf("got %q", got)
	}
	cmd := running(t, "gn-a")
	if got := sh(t, "cat /run/wireguard/gn-a.lock"); got != fmt.Sprintf("%d 1.2.3", cmd.Process.Pid) {
		t.Errorf("the lock says %q", got)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{nil, 2, "ginnel-dataplane: expected a device name, --stdin, or one socket from systemd\n"},
		{[]string{"eth0"}, 2, "ginnel-dataplane: refused the device name \"eth0\": it must be gn- and 1 to 12 of a-z, 0-9, -\n"},
		{[]string{"gn-a", "gn-b"}, 2, "ginnel-dataplane: expected one device name, got [\"gn-a\" \"gn-b\"]\n"},
		{[]string{"--mtu", "1", "gn-a"}, 1, "ginnel-dataplane: create the link gn-a: failed to set MTU of TUN device: invalid argument\n"},
		{[]string{"--stdin"}, 2, "ginnel-dataplane: descriptor 0 is not the socket we were promised: file file+net connection: getsockopt: socket operation on non-socket\n"},
	} {
		cmd := exec.Command(program(), c.args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		if cmd.ProcessState.ExitCode() != c.code || stderr.String() != c.stderr {
			t.Errorf("%q: exit %d, %q", c.args, cmd.ProcessState.ExitCode(), stderr.String())
		}
	}
	if trace := left(t); trace != "" {
		t.Errorf("left behind: %s", trace)
	}
}

// connection is the two ends of one that systemd accepted.
func connection(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	ours, theirs = os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func TestAskedByASocket(t *testing.T) {
	for name, start := range map[string]func(theirs *os.File) *exec.Cmd{
		"StandardInput=socket": func(theirs *os.File) *exec.Cmd {
			cmd := exec.Command(program(), "--stdin")
			cmd.Stdin, cmd.Stdout = theirs, theirs
			return cmd
		},
		"LISTEN_FDS": func(theirs *os.File) *exec.Cmd {
			cmd := exec.Command("sh", "-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec "+program())
			cmd.ExtraFiles = []*os.File{theirs}
			return cmd
		},
	} {
		t.Run(name, func(t *testing.T) {
			for line, want := range map[string]string{
				"gn-a\n":                             "ok\n",
				"gn-a no-offload memory=100663296\n": "ok\n",
				"gn-a turbo\n":                       "error refused the option \"turbo\": this version does not know it\n",
				"gn-a no-offload=1\n":                "error refused the option \"no-offload=1\": it takes no value\n",
				"gn-a memory=96M\n":                  "error refused the option \"memory=96M\": strconv.ParseInt: parsing \"96M\": invalid syntax\n",
				"gn-a memory=4096\n":                 "error refused the option \"memory=4096\": at least 33554432 bytes are needed\n",
				"docker\n":                           "error refused the device name \"docker\": it must be gn- and 1 to 12 of a-z, 0-9, -\n",
			} {
				ours, theirs := connection(t)
				cmd := start(theirs)
				must(t, cmd.Start())
				defer time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }).Stop() // should it not hang up
				theirs.Close()
				ours.WriteString(line)
				answer, err := io.ReadAll(ours) // to its end: nothing is left open at the other
				if err != nil || string(answer) != want {
					t.Errorf("%q was answered by %q, %v", line, answer, err)
				}
				if want == "ok\n" {
					if !answers("gn-a") {
						t.Error("it said ok too early")
					}
					if plain := strings.Contains(line, "no-offload"); segments(t, "gn-a") == plain {
						t.Errorf("%q: the kernel hands over merged segments: %v", line, !plain)
					}
					ours.Close() // it lives on
					sockets := sh(t, fmt.Sprintf("readlink /proc/%d/fd/0 /proc/%d/fd/1", cmd.Process.Pid, cmd.Process.Pid))
					if strings.Contains(sockets, "socket:") {
						t.Errorf("it holds on to the connection: %s", sockets)
					}
					cmd.Process.Signal(syscall.SIGTERM)
				}
				cmd.Wait()
			}
		})
	}
}

// segments tells whether the kernel may hand a link more than it has MTU for, to
// be cut by the other side (ETHTOOL_GTSO of linux/ethtool.h).
func segments(t *testing.T, link string) bool {
	t.Helper()
	value := struct{ cmd, on uint32 }{cmd: 0x1e}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], link)
	request.data = unsafe.Pointer(&value)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(errno)
	}
	return value.on != 0
}

func TestGroupLimit(t *testing.T) {
	root := t.TempDir()
	self := filepath.Join(root, "self")
	write := func(path, text string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
	}
	limit := func(what, folder string, want int64) {
		t.Helper()
		if folder != "" {
			folder = filepath.Join(root, folder)
		}
		if dir, got := groupLimit(self, root); got != want || dir != folder {
			t.Errorf("%s: %d of %s", what, got, dir)
		}
	}
	limit("without a file", "", 0)
	write("self", "1:name=systemd:/x\n0::/ginnel.slice/dataplane\n")
	limit("without limits", "", 0)
	write("ginnel.slice/dataplane/memory.max", "max\n")
	write("ginnel.slice/memory.max", "100000000\n")
	limit("with a limit above ours", "ginnel.slice", 100000000)
	write("ginnel.slice/dataplane/memory.max", "64000000\n")
	limit("with a limit of ours", "ginnel.slice/dataplane", 64000000)
}

func TestCeiling(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ machine, group, want int64 }{
		{0, 0, 0},                         // nothing is known
		{24 << 30, 0, 0},                  // plenty
		{24 << 30, 14 << 30, 0},           // plenty, and the slice has most of it
		{512 * mib, 300 * mib, 100 * mib}, // as in ginnel-dataplane.slice
		{500 * mib, 0, 100 * mib},         // without systemd
		{24 << 30, 384 * mib, 128 * mib},  // a container
		{128 * mib, 0, leastMemory},
	} {
		if got := ceiling(c.machine, c.group); got != c.want {
			t.Errorf("ceiling(%d, %d) = %d, want %d", c.machine/mib, c.group/mib, got/mib, c.want/mib)
		}
	}
	if got := machineMemory("/proc/meminfo"); got < 64*mib {
		t.Errorf("this machine has %d bytes", got)
	}
}

// However many start at once, together they stay below what they share, and come
// to rest at a fair part of it.
func TestSqueezed(t *testing.T) {
	const (
		mib  = int64(1 << 20)
		rest = 8 * mib       // what an idle one has
		grow = 240 * mib / 4 // by how much all together grow between two looks
		used = 0.75          // what of a ceiling was seen to be in use
		most = 92 * mib
	)
	group := 3 * most
	for busy := range int64(6) {
		busy++
		each, ceiling := rest, most
		for look := range 40 {
			each = min(each+grow/busy, int64(used*float64(ceiling)))
			left := group - busy*each - (6-busy)*rest
			if left <= 0 {
				t.Fatalf("look %d: %d busy ones have %d MiB each", look, busy, each/mib)
			}
			ceiling = squeezed(ceiling, most, left)
		}
		if least := min(int64(used*float64(most)), group/9); each < least {
			t.Errorf("%d busy ones have only %d MiB each", busy, each/mib)
		}
	}
}

// The ceiling follows what the group has left.
func TestSqueeze(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	const mib = 1 << 20
	l := &limiter{most: 92 * mib, now: 92 * mib, max: 276 * mib, group: t.TempDir()}
	for _, c := range []struct{ used, want int64 }{
		{40, 92 * mib}, {216, 60 * mib}, {270, leastMemory}, {40, leastMemory + (92*mib-leastMemory)/4},
	} {
		must(t, os.WriteFile(filepath.Join(l.group, "memory.current"), fmt.Append(nil, c.used*mib, "\n"), 0o644))
		l.squeeze()
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("%d MiB used: ceiling %d, want %d", c.used, got, c.want)
		}
	}
}
