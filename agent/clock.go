package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/internal/durable"
	"github.com/ginnel/ginnel/agent/why"
)

// A gateway without a battery wakes up in the past, and its hubs then refuse
// its handshakes, which carry the time. So the newest time that has certainly
// been is kept on disk: a clock behind that is wrong.

// floorEvery is how far the file may lag behind.
const floorEvery = 10 * time.Minute

// timepiece is what is known of this host's clock.
type timepiece struct {
	file string

	mu      sync.Mutex
	floor   time.Time
	written time.Time     // the floor in the file
	off     time.Duration // against the collector; above 0: ours is ahead
	fine    time.Duration // 0: nothing was compared yet
}

// load reads the floor.
func (t *timepiece) load() error {
	text, err := os.ReadFile(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return nil // damaged: there is none
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written = at
	if at.After(t.floor) {
		t.floor = at
	}
	return nil
}

// saw notes a time that has certainly been: of a block, or a certificate.
func (t *timepiece) saw(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at.After(t.floor) {
		t.floor = at
	}
}

// compared notes what the collector's clock said. It is right, also about a
// floor that a clock that ran ahead has left.
func (t *timepiece) compared(off, fine time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.off, t.fine = off, fine
	t.floor = time.Now().Add(-off).Add(-fine)
}

// now is what can be said of the clock.
func (t *timepiece) now(kept func() (bool, time.Duration)) why.Clock {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := why.Clock{Off: t.off, Fine: t.fine, Floor: t.floor}
	if kept != nil {
		c.Synced, c.Within = kept()
	}
	return c
}

// keep writes the floor down now and then.
func (t *timepiece) keep() error {
	t.mu.Lock()
	at, due := t.floor, t.floor.Sub(t.written).Abs() >= floorEvery
	t.mu.Unlock()
	if !due || at.IsZero() {
		return nil
	}
	if err := durable.WriteFile(t.file, []byte(at.UTC().Format(time.RFC3339)+"\n"), 0o640); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written = at
	return nil
}

// seldom keeps an answer that is dear to get for a while.
type seldom[T any] struct {
	mu   sync.Mutex
	at   time.Time
	last T
}

// dear is how long such an answer is good for.
const dear = 10 * time.Second

func (s *seldom[T]) get(ctx context.Context, ask func(context.Context) T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) >= dear {
		s.last, s.at = ask(ctx), time.Now()
	}
	return s.last
}

// stale has the next get ask.
func (s *seldom[T]) stale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Time{}
}

func clockSnapshot(c why.Clock) block.ClockSnapshot {
	s := block.ClockSnapshot{Kept: c.Synced}
	if c.Synced && c.Within > 0 {
		s.Within = new(c.Within.Seconds())
	}
	if c.Fine > 0 {
		s.Off, s.Fine = new(c.Off.Seconds()), new(c.Fine.Seconds())
	}
	if s.Kept || c.Fine > 0 {
		s.Text = c.String()
	}
	return s
}
