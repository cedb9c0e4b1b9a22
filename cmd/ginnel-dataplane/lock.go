package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// runDir is where wg(8) and wgctrl look for sockets; wireguard-go has it too.
const runDir = "/var/run/wireguard"

func socketPath(name string) string { return filepath.Join(runDir, name+".sock") }

func lockPath(name string) string { return filepath.Join(runDir, name+".lock") }

// lock is held while we live, so that of two data planes for one device the
// second ends before it touches the socket of the first. The file says who
// holds it, for people and for the agent: "PID VERSION".
type lock struct{ f *os.File }

// looks is how often a lock that is taken is tried again: the agent takes it for
// a moment to see whether anybody has it.
const looks = 10

func acquire(name string) (*lock, error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		f, err := os.OpenFile(lockPath(name), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) && tries < looks {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("a data plane for %s is running already", name)
			}
			return nil, fmt.Errorf("lock %s: %w", lockPath(name), err)
		}
		if !isStill(f, lockPath(name)) { // its former holder ended just now and took the file along
			f.Close()
			continue
		}
		if err := f.Truncate(0); err != nil {
			f.Close()
			return nil, err
		}
		if _, err := fmt.Fprintf(f, "%d %s\n", os.Getpid(), ourVersion()); err != nil {
			f.Close()
			return nil, err
		}
		return &lock{f}, nil
	}
}

// isStill tells whether f is the file that has the path now.
func isStill(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// release takes the file away before the lock, so that nobody locks a file
// that is about to go without noticing.
func (l *lock) release() {
	os.Remove(l.f.Name())
	l.f.Close()
}
