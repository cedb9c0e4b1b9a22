package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// floodRoutes come and go again and again.
const floodRoutes = 50000

// byFlood is within how long things are back while the kernel tells of more than
// anybody can read.
const byFlood = 5 * time.Second

// playFlood has somebody add and remove so many routes that the agent must lose
// events, takes what is ours meanwhile, kind by kind, and misses none of it.
func playFlood(ctx context.Context, s *stage) error {
	h, err := newHealing(ctx, s)
	if err != nil {
		return err
	}
	defer h.close()
	began := time.Now()
	before, err := memory(h.site.PID(), "VmRSS")
	if err != nil {
		return err
	}
	f, err := startFlood(ctx, h.node, floodRoutes)
	if err != nil {
		return err
	}
	took, err := h.rounds(ctx, byEvents(removals), pick(s, 3, 1))
	missed := 0
	if stays, ok := errors.AsType[*staysAway](err); ok { // and the rounds ended with it
		missed, err = 1, nil
		fmt.Println("         ", stays)
	}
	if err := errors.Join(err, f.end()); err != nil {
		return err
	}
	var all []time.Duration
	for _, r := range byEvents(removals) {
		all = append(all, took[r.what]...)
	}
	s.zero("removals that were missed", missed, "objects", fmt.Sprintf("%d objects taken while %s routes came and went %d times in %.0f s",
		len(all), thousands(floodRoutes), f.rounds.Load(), time.Since(began).Seconds()))
	s.back("all of these", all, byFlood)
	return h.lived(ctx, before)
}

// byEvents are the removals that the kernel tells of.
func byEvents(all []removal) (some []removal) {
	for _, r := range all {
		if r.aim == byEvent {
			some = append(some, r)
		}
	}
	return some
}

// lived makes the rows about the agent itself.
func (h *healing) lived(ctx context.Context, before float64) error {
	s := h.stage
	lost, err := eventsLost(h.site.PID())
	if err != nil {
		return err
	}
	s.holds("the agent did lose events (ENOBUFS), else this would prove nothing", lost > 0,
		fmt.Sprintf("the kernel had no room for %s of them", thousands(lost)))
	rss, err := memory(h.site.PID(), "VmRSS")
	if err != nil {
		return fmt.Errorf("the agent did not live: %w", err)
	}
	peak, err := memory(h.site.PID(), "VmHWM")
	if err != nil {
		return err
	}
	s.row(result{Name: "the agent's memory at its most", Value: peak, Unit: "MiB", Beside: &before, Aim: "<= 128", Met: peak <= 128,
		Detail: fmt.Sprintf("%.1f MiB before, %.1f MiB after", before, rss)})
	if err := h.site.AwaitPlanned(within(ctx, hopelessly)); err != nil {
		return err
	}
	s.holds("nothing is left to do afterwards", true, "")
	return h.unchanged(ctx)
}
