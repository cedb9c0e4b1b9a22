package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// TestPluginKilled kills the plugin: its checks say so, and then it is back.
func TestPluginKilled(t *testing.T) {
	k := perform(t)
	check := mustMake(t, k, "count", nil)
	if r := check.Run(t.Context()); r.Verdict != checks.OK {
		t.Fatalf("%+v", r)
	}
	old := pidOf(t, k)
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	begin, between := time.Now(), 0
	until(t, "the plugin is back", func() bool {
		r := check.Run(t.Context())
		if r.Verdict == checks.OK {
			return true
		}
		between++
		if r.Verdict != checks.Unknown || r.Reason != checks.SelfFault || r.Detail != "plugin restarting" || r.Sent != 0 {
			t.Fatalf("meanwhile: %+v", r)
		}
		return false
	})
	t.Logf("back after %v; %d runs in between", time.Since(begin).Round(time.Millisecond), between)
	if between == 0 {
		t.Error("no check noticed")
	}
	if now := pidOf(t, k); now == old {
		t.Error("it is the same process")
	}
}

// TestPluginExits ends the process in the middle of a run.
func TestPluginExits(t *testing.T) {
	k := perform(t)
	if r := run(t, k, "exit"); r.Verdict != checks.Unknown || r.Reason != checks.SelfFault {
		t.Errorf("%+v", r)
	}
	until(t, "the plugin is back", func() bool { return run(t, k, "").Verdict == checks.OK })
}

// TestPluginHangs stops the plugin: what it does not answer is our fault, never
// the target's, and it is replaced.
func TestPluginHangs(t *testing.T) {
	k := perform(t)
	check := mustMake(t, k, "", nil)
	old := pidOf(t, k)
	if err := syscall.Kill(old, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "it has stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", old))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	for range stuckMost {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if r := check.Run(ctx); r.Verdict != checks.Unknown || r.Reason != checks.SelfFault {
			t.Errorf("%+v", r)
		}
		cancel()
	}
	until(t, "the plugin is back", func() bool {
		r := run(t, k, "pid")
		return r.Verdict == checks.OK && r.Detail != strconv.Itoa(old)
	})
	if alive(old) {
		t.Error("the old process is still there")
	}
}

// TestAgentKilled kills an agent, which has no time for goodbyes: its plugin is
// gone as well, by either of the two ways alone.
func TestAgentKilled(t *testing.T) {
	for _, c := range []struct {
		name, arg, env string
	}{
		{"both ways", "", ""},
		{"only the kernel's signal", "no-watch", ""},
		{"only the plugin's watch", "", "GINNEL_TEST_NO_SIGNAL=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, "puppet", c.arg)
			agent := exec.Command("/proc/self/exe")
			sockets, err := os.MkdirTemp("", "agent") // killed, it leaves some; t.TempDir's names are too long for them
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(sockets) })
			agent.Env = append(os.Environ(), hostEnv+"="+s.dir, "GINNEL_TEST_SOCKETS="+sockets, c.env)
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
			if err != nil || e != nil || !alive(plugin) {
				t.Fatalf("the agent says %q, %v", line, err)
			}
			agent.Process.Kill()
			killed := time.Now()
			agent.Wait()
			until(t, "the plugin is gone", func() bool { return !alive(plugin) })
			t.Logf("gone after %v", time.Since(killed).Round(time.Millisecond))
		})
	}
}

// TestAgentThreads makes the agent's other threads come and go: the kernel ties
// the plugin to the thread that started it, which must not be one of those.
func TestAgentThreads(t *testing.T) {
	k := perform(t)
	before := pidOf(t, k)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { lockedAndGone() })
	}
	wg.Wait()
	if after := pidOf(t, k); after != before {
		t.Error("the plugin died with a thread")
	}
}

func TestClose(t *testing.T) {
	s := set(t, "puppet")
	s2 := strings.NewReplacer("kind = \"puppet\"", "kind = \"second\"")
	text, err := os.ReadFile(s.offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "second.toml"), []byte(s2.Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.SocketDir = filepath.Join(t.TempDir(), "sockets")
	if err := os.MkdirAll(filepath.Join(o.SocketDir, "plugin-dir123"), 0o700); err != nil {
		t.Fatal(err)
	}
	kinds, err := s.load(t, o)
	if err != nil || len(kinds) != 2 {
		t.Fatalf("%d kinds, %v", len(kinds), err)
	}
	if list, _ := os.ReadDir(o.SocketDir); len(list) != 1 || list[0].Name() == "plugin-dir123" {
		t.Errorf("sockets: %v", list)
	}
	one, two := pidOf(t, kinds[0]), pidOf(t, kinds[1])
	if one != two {
		t.Errorf("two kinds of a program in two processes: %d and %d", one, two)
	}
	if err := kinds[0].Close(); err != nil {
		t.Error(err)
	}
	if pidOf(t, kinds[1]) != one {
		t.Error("the second kind was closed with the first")
	}
	if err := kinds[1].Close(); err != nil {
		t.Error(err)
	}
	if alive(one) {
		t.Error("still there after Close")
	}
	if list, _ := os.ReadDir(o.SocketDir); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
}

// TestCloseHanging closes a plugin that does not react.
func TestCloseHanging(t *testing.T) {
	k := perform(t)
	pid := pidOf(t, k)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if alive(pid) {
		t.Error("still there after Close")
	}
}

// TestRestartChecksAgain changes the program under a running plugin: the next
// start refuses it.
func TestRestartChecksAgain(t *testing.T) {
	s := set(t, "puppet")
	log := &logged{}
	o := options()
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	kinds, err := s.load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	old := pidOf(t, kinds[0])
	if err := os.Rename(s.program, s.program+".old"); err != nil { // writing to it would be "text file busy"
		t.Fatal(err)
	}
	if err := os.WriteFile(s.program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the log tells of the checksum", func() bool { return strings.Contains(log.String(), "its sha256 is") })
	if r := run(t, kinds[0], ""); r.Reason != checks.NotRun || !strings.Contains(r.Detail, "its sha256 is") {
		t.Errorf("%+v", r)
	}
	if err := os.Rename(s.program+".old", s.program); err != nil {
		t.Fatal(err)
	}
	until(t, "the right program is back", func() bool { return run(t, kinds[0], "").Verdict == checks.OK })
}

// TestLedger holds the pauses and the budget.
func TestLedger(t *testing.T) {
	var l ledger
	now := time.Now()
	broken := errors.New("exit status 3")
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 240} {
		if v := l.ended(now, time.Second, broken); v.pause != want*pauseFirst || v.quarantine != "" {
			t.Errorf("end %d: %+v", i+1, v)
		}
	}
	if v := l.ended(now, time.Second, broken); v.quarantine != "after 10 ends within 10m0s" || v.pause != 0 {
		t.Errorf("the tenth: %+v", v)
	}
	l = ledger{}
	for i := range 3 * budget { // once in two minutes, for an hour
		if v := l.ended(now.Add(time.Duration(i)*2*time.Minute), 2*time.Minute, broken); v.pause != pauseFirst {
			t.Errorf("end %d after a long life: %+v", i+1, v)
		}
	}
	for i := range 3 * budget {
		if v := l.ended(now, 0, &FileError{Path: "/x", Err: os.ErrNotExist}); v.quarantine != "" {
			t.Errorf("a missing file, %d: %+v", i+1, v)
		}
	}
	if v := l.ended(now, 0, fmt.Errorf("start: %w", &lie{"has two faces"})); v.quarantine == "" {
		t.Error("a lie is forgiven")
	}
}

// TestRunner has a Runner above it: the state is unknown while the plugin is
// away, and up again.
func TestRunner(t *testing.T) {
	k := perform(t)
	registry, err := checks.NewRegistry(k)
	if err != nil {
		t.Fatal(err)
	}
	r := checks.NewRunner(checks.RunnerOptions{Registry: registry})
	defer r.Close()
	r.Sync([]checks.Spec{{Name: "puppet", Kind: "puppet", Interval: 20 * time.Millisecond,
		Target: checks.Target{Timeout: 20 * time.Millisecond}}})
	state := func(want checks.State) func() bool {
		return func() bool { return r.Status()[0].State == want }
	}
	until(t, "the check is up", state(checks.Up))
	if err := syscall.Kill(pidOf(t, k), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the check is unknown", state(checks.UnknownState))
	until(t, "the check is up", state(checks.Up))
}

// logged is a log that is read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestLoadEnds gives up a start that takes too long.
func TestLoadEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Load(ctx, set(t, "puppet").dir, options()); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}
