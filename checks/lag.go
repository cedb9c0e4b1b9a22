package checks

import (
	"time"

	"github.com/ginnel/ginnel/checks/hist"
)

// Lag is how late a Runner itself was, in the last five to ten minutes.
type Lag struct {
	Starts   uint64        // of runs; 0: the times mean nothing
	P50, P99 time.Duration // from when a run was due to when it was started
	Max      time.Duration
	Missed   uint64 // starts left out because this program did not run, while the machine was awake; since the Runner was made
}

// lags keeps the Lag.
type lags struct {
	since        time.Time // when now began
	now, earlier hist.Histogram
	missed       uint64
}

// lagSpan is how long a histogram of lags is filled.
const lagSpan = 5 * time.Minute

func (l *lags) add(now time.Time, lag, interval time.Duration) {
	l.turn(now)
	l.now.Add(lag)
	l.missed += uint64(max(0, lag/interval))
}

func (l *lags) turn(now time.Time) {
	switch age := now.Sub(l.since); {
	case age >= 2*lagSpan:
		l.earlier, l.now, l.since = hist.Histogram{}, hist.Histogram{}, now
	case age >= lagSpan:
		l.earlier, l.now, l.since = l.now, hist.Histogram{}, now
	}
}

func (l *lags) figures(now time.Time) Lag {
	l.turn(now)
	all := l.now.Clone()
	all.Merge(&l.earlier)
	return Lag{Starts: all.Count(), P50: all.Quantile(0.5), P99: all.Quantile(0.99), Max: all.Max(), Missed: l.missed}
}

// Lag tells how late the Runner itself was.
func (r *Runner) Lag() Lag {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	return r.engine.lag.figures(time.Now())
}
