package run_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/agent/run"
)

// until is a task that is ready at once and works until it is told to stop.
func until(ctx context.Context, ready func()) error {
	ready()
	<-ctx.Done()
	return nil
}

func TestRun(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name      string
		tasks     []run.Task
		wantReady bool
		want      string // error text; empty: none
	}{
		{"nothing to do", nil, true, ""},
		{"all well", []run.Task{{Name: "a", Run: until}, {Name: "b", Run: until}}, true, ""},
		{"one fails, the rest stop", []run.Task{
			{Name: "a", Run: until},
			{Name: "b", Run: func(ctx context.Context, ready func()) error {
				ready()
				time.Sleep(time.Second)
				return broken
			}},
		}, true, "b: broken"},
		{"one fails before it is ready", []run.Task{
			{Name: "a", Run: until},
			{Name: "b", Run: func(context.Context, func()) error { return broken }},
		}, false, "b: broken"},
		{"one ends too soon", []run.Task{
			{Name: "a", Run: until},
			{Name: "b", Run: func(ctx context.Context, ready func()) error {
				ready()
				time.Sleep(time.Second)
				return nil
			}},
		}, true, "b: stopped early"},
		{"ready twice counts once", []run.Task{
			{Name: "a", Run: func(ctx context.Context, ready func()) error { ready(); return until(ctx, ready) }},
			{Name: "b", Run: func(ctx context.Context, ready func()) error { <-ctx.Done(); return nil }},
		}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				wasReady := false
				err := run.Run(ctx, tt.tasks, func() { wasReady = true })
				if wasReady != tt.wantReady {
					t.Errorf("ready = %v, want %v", wasReady, tt.wantReady)
				}
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tt.want {
					t.Errorf("error = %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// manager listens as a service manager does.
func manager(t *testing.T) net.Conn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func TestNotify(t *testing.T) {
	conn := manager(t)
	if err := run.Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("the manager read %q, %v", buf[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if err := run.Notify("READY=1"); err == nil || !strings.Contains(err.Error(), "service manager") {
		t.Errorf("nobody listens: error = %v", err)
	}
}

// TestAlive speaks again and again, where the manager wants that of this process.
func TestAlive(t *testing.T) {
	conn := manager(t)
	run.Alive(t.Context()) // no WatchdogSec
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", "1")
	run.Alive(t.Context()) // another's
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); run.Alive(ctx) }()
	buf := make([]byte, 64)
	for range 3 {
		n, err := conn.Read(buf)
		if err != nil || string(buf[:n]) != "WATCHDOG=1" {
			t.Errorf("the manager read %q, %v", buf[:n], err)
		}
	}
	cancel()
	<-ended
}
