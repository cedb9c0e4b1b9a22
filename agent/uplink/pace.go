package uplink

import (
	"context"
	"math/rand/v2"
	"time"
)

// pace is the pause between tries: full jitter under a ceiling that doubles,
// so that gateways that lost the collector together do not come back together.
// Where the collector gave them slots, those take the place of chance once it is
// clear that it is lost.
type pace struct {
	slowest  time.Duration // ceiling of the ceiling
	failures int           // rounds in which no collector answered
	tries    int           // of this round
}

const (
	firstPause = time.Second            // the first ceiling
	leastPause = 200 * time.Millisecond // below this no try follows another
	chances    = 3                      // failures before the slot counts: a blip is not a loss
)

// next is how long to wait after one more failure. The collector's own wish,
// 0: none, is honoured where it is longer.
func (p *pace) next(wish time.Duration, s slot) time.Duration {
	ceiling := min(p.slowest, firstPause<<min(p.failures, 12))
	p.failures++
	if p.failures > chances && s.window > 0 {
		return s.after(time.Now(), max(leastPause, wish))
	}
	d := max(leastPause, rand.N(ceiling))
	if wish > d {
		d = wish + rand.N(wish/10+1)
	}
	return d
}

// other says that another of n collectors is to be tried in this round.
func (p *pace) other(n int) bool {
	p.tries = (p.tries + 1) % max(1, n)
	return p.tries > 0
}

func (p *pace) reset() { p.failures, p.tries = 0, 0 }

// slot is a gateway's moment in a window of time that comes again and again, as
// the collector gave it. All gateways have the same window and other moments, so
// that a collector that was lost is found again by as many in each second, and by
// all within a window of its return. Its zero value is none.
type slot struct{ at, window time.Duration }

// Bounds of what a collector may give.
const (
	leastWindow = time.Second
	mostWindow  = 10 * time.Minute
)

// after is the pause from now to the first such moment that is no less than d
// away.
func (s slot) after(now time.Time, d time.Duration) time.Duration {
	into := time.Duration(now.Add(d).UnixNano() % int64(s.window))
	return d + (s.at-into+s.window)%s.window
}

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
