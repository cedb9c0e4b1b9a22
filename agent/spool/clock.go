package spool

import "time"

// clock gives the wall clock, in UTC, and a clock that is never set.
type clock func() (wall time.Time, mono time.Duration)

func realClock() clock {
	base := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0).UTC(), now.Sub(base)
	}
}

const (
	minute = time.Minute
	// syncEvery is how often the journal is synced, and a line of life written
	// into it.
	syncEvery = 10 * time.Second
	// stepped is how far the clocks may part within a block before the wall
	// clock counts as set.
	stepped = time.Second
	// stalled is how long nothing may happen, with a line of life every
	// syncEvery, before the process counts as not having run.
	stalled = time.Minute
	// grain is the finest time in the spool.
	grain = time.Millisecond
)

func trim(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Round(0).UTC().Truncate(grain)
}
