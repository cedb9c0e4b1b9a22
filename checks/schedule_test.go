package checks

import (
	"fmt"
	"testing"
	"time"
)

func TestStartsAreSpread(t *testing.T) {
	const n, interval = 1000, 30 * time.Second
	var tenths [10]int
	for i := range n {
		p := phaseOf(fmt.Sprintf("gateway-%d", i), "records", interval)
		if p < 0 || p >= interval {
			t.Fatalf("phase %v of %v", p, interval)
		}
		tenths[p*10/interval]++
	}
	for i, got := range tenths {
		if got < 60 || got > 140 {
			t.Errorf("%d of %d gateways start in tenth %d of the interval", got, n, i)
		}
	}
}

// TestSuspendIsNotReplayed stands for a machine that slept: the loop comes late
// by an hour, as a timer does after a suspend.
func TestSuspendIsNotReplayed(t *testing.T) {
	now := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	s := newSchedule("avocet-1", Spec{Name: "records", Interval: 10 * time.Second}, now)
	first := s.after(now)
	next := s.after(now.Add(time.Hour))
	if late := next.Sub(now.Add(time.Hour)); late <= 0 || late > 10*time.Second || next.Sub(first)%(10*time.Second) != 0 {
		t.Errorf("after an hour the next start is %v later, %v after the first", late, next.Sub(first))
	}
}
