package uplink

import (
	"context"
	"math/rand/v2"
	"time"
)

// pace is the pause between tries: full jitter under a ceiling that doubles,
// so that gateways that lost the collector together do not come back together.
type pace struct {
	slowest  time.Duration // ceiling of the ceiling
	failures int
}

const (
	firstPause = time.Second            // the first ceiling
	leastPause = 200 * time.Millisecond // below this no try follows another
)

// next is how long to wait after one more failure. The collector's own wish,
// 0: none, is honoured where it is longer.
func (p *pace) next(wish time.Duration) time.Duration {
	ceiling := min(p.slowest, firstPause<<min(p.failures, 12))
	p.failures++
	d := max(leastPause, rand.N(ceiling))
	if wish > d {
		d = wish + rand.N(wish/10+1)
	}
	return d
}

func (p *pace) reset() { p.failures = 0 }

// pulse is how the rest of the program wakes a loop.
type pulse struct {
	news   chan struct{} // something is there to be sent
	healed chan struct{} // the collector was reached by the other loop
}

func newPulse() *pulse {
	return &pulse{make(chan struct{}, 1), make(chan struct{}, 1)}
}

func (p *pulse) wake() { tip(p.news) }
func (p *pulse) heal() { tip(p.healed) }

func tip(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// rest waits for d after a success, or for news. False: ctx ended.
func (p *pulse) rest(ctx context.Context, d time.Duration) bool {
	return sleep(ctx, d, p.news)
}

// recover waits for d after a failure. News do not cut it short, the other
// loop's success does. False: ctx ended.
func (p *pulse) recover(ctx context.Context, d time.Duration) bool {
	select {
	case <-p.healed: // of before the failure
	default:
	}
	return sleep(ctx, leastPause, nil) && sleep(ctx, d-leastPause, p.healed)
}

func sleep(ctx context.Context, d time.Duration, cut <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-cut:
		return true
	case <-ctx.Done():
		return false
	}
}
