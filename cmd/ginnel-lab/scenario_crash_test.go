package main

import (
	"testing"
	"time"
)

// TestSpanOf looks at the spans of which a random point is taken: a span of
// nothing has no points.
func TestSpanOf(t *testing.T) {
	began := time.Date(2027, 2, 1, 7, 0, 0, 400_000, time.UTC)
	at := func(ms ...int) (times []time.Time) {
		for _, n := range ms {
			times = append(times, began.Truncate(time.Millisecond).Add(time.Duration(n)*time.Millisecond))
		}
		return times
	}
	for name, c := range map[string]struct {
		writes []time.Time
		want   span
	}{
		"a usual start":       {at(31, 31, 58), span{30_600 * time.Microsecond, 28 * time.Millisecond}},
		"all in one tick":     {at(5, 5, 5), span{4_600 * time.Microsecond, time.Millisecond}},
		"in the start's tick": {at(0, 0, 0), span{time.Millisecond, time.Millisecond}},
	} {
		if got := spanOf(began, c.writes); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
