package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/swarm"
)

// herdBeat is the heartbeat of the scenarios with a swarm, and so the window of
// its slots.
const herdBeat = 10 * time.Second

// playHerd takes the collector from a whole county at once and gives it back, and
// puts sick ones in its place.
func playHerd(ctx context.Context, s *stage) error {
	n := pick(s, 1000, 40)
	h, err := startHerd(ctx, s, n)
	if err != nil {
		return err
	}
	defer h.close()
	before, err := h.Memory()
	if err != nil {
		return err
	}
	if err := h.live(ctx, n); err != nil {
		return err
	}
	for _, ill := range []swarm.Illness{"", swarm.Drops, swarm.Busy, swarm.Nonsense} {
		if err := h.lose(ctx, s, ill, pick(s, time.Minute, 12*time.Second)); err != nil {
			return err
		}
	}
	after, err := h.Memory()
	if err != nil {
		return err
	}
	each := float64(after-before) / float64(n) / 1024
	if !s.short { // a few dozen tell nothing of what one costs
		s.row(result{Name: "memory of the collector", Value: each, Unit: "KiB", Aim: "<= 64", Met: each <= 64,
			Detail: fmt.Sprintf("a gateway: %d MiB with none, %d MiB with %d after all of it", before>>20, after>>20, n)})
	}
	return nil
}

// herd is a swarm and its collector.
type herd struct {
	*swarm.Collector
	swarm *swarm.Swarm
	dir   string
	stop  func() error // of the swarm; nil: it does not live
}

func startHerd(ctx context.Context, s *stage, n int, signers ...string) (*herd, error) {
	dir := filepath.Join(netns.Out, "scenario-"+s.name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), netns.Loopback()); err != nil {
		return nil, err
	}
	c, err := ownCollector(ctx, dir, herdBeat)
	if err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp("/var/lib", "swarm-*") // in memory, and gone with the box
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return &herd{Collector: c, dir: state, swarm: swarm.New(swarm.Options{Dir: state, API: c.API, Signers: signers})}, nil
}

// live enrols n gateways and waits until all have been heard.
func (h *herd) live(ctx context.Context, n int) error {
	began := time.Now()
	if err := h.swarm.Add(ctx, n); err != nil {
		return err
	}
	fmt.Printf("  %d gateways enrolled in %.1f s\n", n, time.Since(began).Seconds())
	once, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = h.swarm.Run(once, herdBeat) })
	h.stop = func() error {
		cancel()
		wg.Wait()
		return err
	}
	_, back := h.back(ctx, time.Now())
	return back
}

func (h *herd) close() {
	if h.stop != nil {
		if err := h.stop(); err != nil {
			fmt.Println("  the swarm:", err)
		}
	}
	if err := errors.Join(h.Stop(), os.RemoveAll(h.dir)); err != nil {
		fmt.Println("  the collector:", err)
	}
}

// back waits until every gateway has had an answer since a time, and says how
// long after it the last one had.
func (h *herd) back(ctx context.Context, since time.Time) (time.Duration, error) {
	for {
		last, missing := since, 0
		for _, g := range h.swarm.Gateways() {
			at := g.Heard()
			if at.Before(since) {
				missing++
			} else if at.After(last) {
				last = at
			}
		}
		if missing == 0 {
			return last.Sub(since), nil
		}
		if time.Since(since) > 3*time.Minute {
			return 0, fmt.Errorf("%d of %d gateways are not back after %v", missing, len(h.swarm.Gateways()), time.Since(since))
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lose takes the collector away for a time, with a sick one in its place or with
// none, and measures the way back.
func (h *herd) lose(ctx context.Context, s *stage, ill swarm.Illness, long time.Duration) error {
	if err := h.Stop(); err != nil {
		return err
	}
	var sick *swarm.Sick
	if ill != "" {
		var err error
		if sick, err = h.Ill(ill); err != nil {
			return errors.Join(err, h.Start(ctx))
		}
	}
	lost := time.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(long):
	}
	if sick != nil {
		took := time.Since(lost)
		// At first a try of a loop may be quick thrice, then there is one in a window.
		most := 4 + took.Seconds()/herdBeat.Seconds() + 1
		tries, gateways := sick.Tries(), len(h.swarm.Gateways())
		busiest := 0 // the control loop has something to say all the while
		for _, path := range slices.Sorted(maps.Keys(tries)) {
			busiest = max(busiest, tries[path])
			each := float64(tries[path]) / float64(gateways)
			s.row(result{Name: fmt.Sprintf("tries of a gateway while it %s, %s", verb(ill), path), Value: each, Unit: "tries", Aim: fmt.Sprintf("<= %.0f", most), Met: each <= most,
				Detail: fmt.Sprintf("%d gateways, %d tries in %.0f s", gateways, tries[path], took.Seconds())})
		}
		if busiest < gateways {
			return fmt.Errorf("%d gateways tried %d times while it %s", gateways, busiest, verb(ill))
		}
		if err := sick.Stop(); err != nil {
			return err
		}
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	d, err := h.back(ctx, time.Now())
	if err != nil {
		return err
	}
	name := "all back after it was away"
	if ill != "" {
		name = fmt.Sprintf("all back after one that %s", verb(ill))
	}
	window := herdBeat + 15*time.Second
	s.row(result{Name: name, Value: d.Seconds(), Unit: "s", Aim: fmt.Sprintf("<= %.0f", window.Seconds()), Met: d <= window,
		Detail: fmt.Sprintf("%v away; the slots' window is %v", long, herdBeat)})
	return nil
}

func verb(i swarm.Illness) string {
	switch i {
	case swarm.Busy:
		return "answers 503"
	case swarm.Nonsense:
		return "answers garbage"
	}
	return "accepts and drops"
}
