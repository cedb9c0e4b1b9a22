package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lab is a built ginnel-lab with an out folder of its own.
type lab struct {
	exe, out string
}

func buildLab(t *testing.T) lab {
	t.Helper()
	// Short, because a socket's path has 107 bytes at most.
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := lab{exe: filepath.Join(dir, "ginnel-lab"), out: dir}
	if out, err := exec.Command("go", "build", "-o", l.exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return l
}

// run runs a command to its end.
func (l lab) run(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.exe, args...)
	cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+l.out)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String(), errs.String(), code
}

// up starts a bare county and waits until it answers.
func (l lab) up(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(l.exe, "up", "--bare")
	cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+l.out)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, _, code := l.run(t, "", "exec", "fulmar-lan", "--", "true"); code == 0 {
			return cmd
		}
		if time.Now().After(end) {
			t.Fatal("the county does not answer")
		}
	}
}

func TestCommandsFromAnotherTerminal(t *testing.T) {
	l := buildLab(t)
	if _, stderr, code := l.run(t, "", "status"); code != 1 || !strings.Contains(stderr, "no county is up") {
		t.Errorf("without a county: %d %q", code, stderr)
	}
	county := l.up(t)
	for _, c := range []struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string // parts
	}{
		{args: []string{"exec", "avocet", "--", "sh", "-c", "uname -n; exit 7"}, code: 7, stdout: "avocet\n"},
		{args: []string{"exec", "avocet-1", "--", "cat"}, stdin: "through", stdout: "through"},
		{args: []string{"exec", "avocet", "--", "no-such-command"}, code: 127, stderr: "no-such-command"},
		{args: []string{"exec", "nowhere", "--", "true"}, code: 1, stderr: `no node "nowhere"`},
		{args: []string{"cut", "nowhere"}, code: 1, stderr: `no line to "nowhere"`},
		{args: []string{"delay", "avocet", "soon"}, code: 2, stderr: "no delay"},
		{args: []string{"lose", "avocet", "101%"}, code: 2, stderr: "no share"},
		{args: []string{"lose", "avocet", "5%"}, stdout: "loses 5 %"},
		{args: []string{"delay", "avocet", "20ms"}, stdout: "20ms each way"},
		{args: []string{"heal", "avocet"}, stdout: "as it was"},
		{args: []string{"exec", "avocet-lan", "--", "ping", "-c1", "-W5", "192.0.2.53"}, stdout: "1 received"},
		{args: []string{"cut", "avocet"}, stdout: "is cut"},
		{args: []string{"exec", "avocet-lan", "--", "ping", "-c1", "-W1", "192.0.2.53"}, code: 1, stdout: "0 received"},
		{args: []string{"up"}, code: 1, stderr: "a county is up already"},
	} {
		stdout, stderr, code := l.run(t, c.stdin, c.args...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%v: %d\n%s\n%s", c.args, code, stdout, stderr)
		}
	}
	if err := county.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := county.Wait(); err != nil {
		t.Errorf("the county ended with %v after an interrupt", err)
	}
	if _, err := os.Stat(controlSocket(l.out)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is still there: %v", err)
	}
}

func TestWireShowsAndWrites(t *testing.T) {
	l := buildLab(t)
	l.up(t)
	file := filepath.Join(t.TempDir(), "wire.pcap")
	write := l.start(t, "wire", "avocet", "-w", file)
	show := l.start(t, "wire", "avocet")
	const question = "icmp 192.168.10.20 > 192.0.2.53 98"
	for end := time.Now().Add(30 * time.Second); !strings.Contains(show.out(), question) || size(file) < 24+2*(16+98); {
		if time.Now().After(end) {
			t.Fatalf("the wire shows\n%s\nand the capture has %d bytes", show.out(), size(file))
		}
		l.run(t, "", "exec", "avocet-lan", "--", "ping", "-c1", "-W1", "192.0.2.53")
	}
	show.interrupt(t)
	write.interrupt(t)
	if !strings.Contains(write.out(), "frames in "+file) {
		t.Errorf("wire -w printed %q", write.out())
	}
}

// size of a file; 0 when it is not there.
func size(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// running is a command that goes on until it is interrupted.
type running struct {
	cmd  *exec.Cmd
	file string
}

func (l lab) start(t *testing.T, args ...string) *running {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &running{cmd: exec.Command(l.exe, args...), file: f.Name()}
	r.cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+l.out)
	r.cmd.Stdout, r.cmd.Stderr = f, f
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *running) out() string {
	b, _ := os.ReadFile(r.file)
	return string(b)
}

func (r *running) interrupt(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%v ended with %v after an interrupt", r.cmd.Args, err)
	}
}
