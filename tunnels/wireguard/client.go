package wireguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
)

// question is one that a data plane has yet to answer.
type question struct {
	answered chan struct{} // closed when it has been
	late     bool          // somebody has given up waiting; guarded by Devices.mu
}

// with runs f with a client of its own: one made before the kernel's module
// was loaded never learns of it. wgctrl waits for ever for a data plane that
// was stopped, so data planes are asked on the side, one question at a time,
// and one that is late with an answer is asked no more until it comes.
func (d *Devices) with(ctx context.Context, name string, backend Backend, f func(*wgctrl.Client) error) error {
	if backend == Kernel {
		return withClient(f)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, silent(name))
	defer cancel()
	q, err := d.turn(ctx, name)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		result <- withClient(f)
		d.mu.Lock()
		delete(d.asked, name)
		d.mu.Unlock()
		close(q.answered)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		d.mu.Lock()
		q.late = true
		d.mu.Unlock()
		return context.Cause(ctx)
	}
}

// turn waits until nobody else asks the data plane.
func (d *Devices) turn(ctx context.Context, name string) (*question, error) {
	for {
		d.mu.Lock()
		q, busy := d.asked[name]
		if !busy {
			q = &question{answered: make(chan struct{})}
			d.asked[name] = q
		}
		late := q.late
		d.mu.Unlock()
		switch {
		case !busy:
			return q, nil
		case late:
			return nil, silent(name)
		}
		select {
		case <-q.answered:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(patience):
			return nil, silent(name)
		}
	}
}

func withClient(f func(*wgctrl.Client) error) error {
	c, err := wgctrl.New()
	if err != nil {
		return fmt.Errorf("open WireGuard's control: %w", err)
	}
	defer c.Close()
	err = f(c)
	if errors.Is(err, unix.EPERM) {
		return NoCapability()
	}
	if errors.Is(err, unix.ECONNREFUSED) { // it died since we looked
		return errors.Join(err, os.ErrNotExist)
	}
	return err
}
