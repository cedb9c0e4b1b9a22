package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func socketPath(name string) string { return filepath.Join(runDir, name+".sock") }

func lockPath(name string) string { return filepath.Join(runDir, name+".lock") }

// socketState is what is at the other end of a device's socket.
type socketState int

const (
	noSocket    socketState = iota
	deadSocket              // left by a data plane that was killed
	aliveSocket             // somebody accepts
)

func (s socketState) String() string {
	return [...]string{"no socket", "a dead socket", "a live socket"}[s]
}

func lookAt(name string) (socketState, error) {
	conn, err := net.DialTimeout("unix", socketPath(name), patience)
	switch {
	case err == nil:
		conn.Close()
		return aliveSocket, nil
	case errors.Is(err, os.ErrNotExist):
		return noSocket, nil
	case errors.Is(err, unix.ECONNREFUSED):
		return deadSocket, nil
	case errors.Is(err, unix.EAGAIN): // its queue is full: alive, if not well
		return aliveSocket, nil
	}
	return noSocket, fmt.Errorf("look at the socket of %s: %w", name, err)
}

// SweepSockets removes sockets of ours that no data plane answers on, and
// those whose link is gone. It returns the devices that they belonged to.
// wg(8) would show a dead device as alive, or fail on all because of one.
func (d *Devices) SweepSockets(ctx context.Context) (swept []string, err error) {
	entries, err := os.ReadDir(runDir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("look for dead sockets: %w", err)
	}
	var failed []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".sock")
		if !ok || !Ours(name) || e.Type()&os.ModeSocket == 0 {
			continue
		}
		gone, err := d.sweep(ctx, name)
		if err != nil {
			failed = append(failed, err)
		} else if gone {
			swept = append(swept, name)
		}
	}
	return swept, errors.Join(failed...)
}

// sweep removes the socket of one device if it is dead or has no link. A data
// plane whose link is not to be found ends when it loses its socket; one that has
// its link in another namespace puts the socket back.
func (d *Devices) sweep(ctx context.Context, name string) (removed bool, err error) {
	state, err := lookAt(name)
	if err != nil {
		return false, err
	}
	switch state {
	case noSocket:
		return false, nil
	case aliveSocket:
		if _, err := d.find(name); !isNoLink(err) {
			return false, err
		}
		if err := os.Remove(socketPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		return true, waitFor(ctx, patience, func() (bool, error) { return !held(name), nil })
	}
	return clearDead(ctx, name)
}

// clearDead removes a dead socket once the lock is free: one that is dying
// holds it for a moment longer, one that is starting is about to make the
// socket its own.
func clearDead(ctx context.Context, name string) (removed bool, err error) {
	err = waitFor(ctx, patience, func() (bool, error) {
		state, err := lookAt(name)
		if err != nil || state != deadSocket {
			return true, err
		}
		removed, err = removeDead(name)
		return removed, err
	})
	return removed, err
}

// removeDead removes a dead socket under the lock that a data plane holds from
// before it makes its socket to its end, so that a new one is never taken for
// the dead one. It is false where the lock is held.
func removeDead(name string) (bool, error) {
	f, err := os.OpenFile(lockPath(name), os.O_RDONLY|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return false, err
	}
	if err := os.Remove(socketPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	os.Remove(lockPath(name))
	return true, nil
}

// held tells whether a data plane for the device lives.
func held(name string) bool {
	f, err := os.Open(lockPath(name))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// DataPlane is a running data-plane process.
type DataPlane struct {
	PID     int
	Version string
}

// Running tells which process handles a device's packets; false where the
// kernel does, or nobody.
func Running(name string) (DataPlane, bool) {
	if !held(name) {
		return DataPlane{}, false
	}
	text, err := os.ReadFile(lockPath(name))
	if err != nil {
		return DataPlane{}, false
	}
	var p DataPlane
	if _, err := fmt.Sscan(string(text), &p.PID, &p.Version); err != nil {
		return DataPlane{}, false
	}
	return p, true
}

// kill ends the process that holds a device's lock. Numbers of processes are
// given again to others, so it must be one of the right name.
func kill(name string) error {
	p, ok := Running(name)
	if !ok {
		return nil
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
	if err != nil || strings.TrimSpace(string(comm)) != processName {
		return silent(name)
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("end the data plane of %s: %w", name, err)
	}
	return nil
}

// processName is what the kernel keeps of "ginnel-dataplane".
const processName = "ginnel-dataplan"

// waitFor looks every 20 ms until done says so, for at most the given time.
func waitFor(ctx context.Context, most time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
