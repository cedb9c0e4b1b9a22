package checks

import (
	"hash/fnv"
	"io"
	"time"
)

// firstWithin is how soon a check that was started runs for the first time, so
// that somebody who waits for a new site need not wait for a whole interval.
const firstWithin = 5 * time.Second

// schedule says when a check starts. It takes its phase from the wall clock
// once and goes on by the monotonic clock: steps of the wall clock move
// nothing, and what was missed during a suspend is not made up for.
type schedule struct {
	interval time.Duration
	phase    time.Duration // in [0, interval)
	begin    time.Time
	next     time.Time // a start in phase
}

func newSchedule(gateway string, s Spec, now time.Time) *schedule {
	phase := phaseOf(gateway, s.Name, s.Interval)
	wait := (phase - time.Duration(now.UnixNano())%s.Interval + s.Interval) % s.Interval
	return &schedule{interval: s.Interval, phase: phase, begin: now, next: now.Add(wait)}
}

// first is when the first run is due: at the phase, or out of phase where that
// is later than firstWithin.
func (s *schedule) first() time.Time {
	early := s.begin.Add(s.phase % firstWithin)
	if s.next.Sub(s.begin) > firstWithin {
		return early
	}
	return s.next
}

// after is the first start in phase that comes after now.
func (s *schedule) after(now time.Time) time.Time {
	if late := now.Sub(s.next); late >= 0 {
		s.next = s.next.Add((late/s.interval + 1) * s.interval)
	}
	return s.next
}

// together is the grain of phases: with fifty checks a second the machine is woken
// for ten of them at most.
const together = 5 * tick

// phaseOf spreads checks over an interval, always in the same way, on ticks.
func phaseOf(gateway, check string, interval time.Duration) time.Duration {
	h := fnv.New64a()
	io.WriteString(h, gateway+"\x00"+check)
	x := h.Sum64()
	x ^= x >> 33 // similar names differ in few bits of an FNV hash
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	phase := time.Duration(x % uint64(interval))
	if interval >= time.Second {
		return phase - phase%together
	}
	return phase - phase%tick
}
