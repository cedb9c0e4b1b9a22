package wan

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var began = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func newShaper() *shaper {
	return &shaper{random: rand.New(rand.NewPCG(1, 2))}
}

func TestZeroLineDoesNothing(t *testing.T) {
	s := newShaper()
	for i := range 1000 {
		now := began.Add(time.Duration(i) * time.Microsecond)
		if got := s.decide(Line{}, now, 1514); got.lost || !got.due.Equal(now) {
			t.Fatalf("frame %d: %+v, want it at once", i, got)
		}
	}
}

func TestDelayAndJitterStayInBoundsAndInOrder(t *testing.T) {
	s := newShaper()
	line := Line{Delay: 10 * time.Millisecond, Jitter: 4 * time.Millisecond}
	var last time.Time
	var sum time.Duration
	const n = 20000
	for i := range n {
		now := began.Add(time.Duration(i) * 5 * time.Millisecond) // wider than the jitter
		got := s.decide(line, now, 100)
		wait := got.due.Sub(now)
		if got.lost || wait < line.Delay || wait >= line.Delay+line.Jitter {
			t.Fatalf("frame %d: lost %v, waits %v", i, got.lost, wait)
		}
		if got.due.Before(last) {
			t.Fatalf("frame %d overtakes the one before", i)
		}
		last, sum = got.due, sum+wait
	}
	if mean := sum / n; (mean - 12*time.Millisecond).Abs() > 50*time.Microsecond {
		t.Errorf("mean wait %v, want 12ms within 50µs", mean)
	}
}

func TestJitterNeverReorders(t *testing.T) {
	s := newShaper()
	line := Line{Jitter: 50 * time.Millisecond}
	var last time.Time
	for i := range 5000 {
		got := s.decide(line, began.Add(time.Duration(i)*time.Microsecond), 100)
		if got.due.Before(last) {
			t.Fatalf("frame %d overtakes the one before", i)
		}
		last = got.due
	}
}

func TestLossIsTheShareAskedFor(t *testing.T) {
	for _, want := range []float64{0.01, 0.05, 0.5} {
		s := newShaper()
		const n = 40000
		lost := 0
		for range n {
			if s.decide(Line{Loss: want}, began, 100).lost {
				lost++
			}
		}
		sigma := math.Sqrt(want * (1 - want) / n)
		if got := float64(lost) / n; math.Abs(got-want) > 5*sigma {
			t.Errorf("lost %.4f, want %.4f within %.4f", got, want, 5*sigma)
		}
	}
}

func TestRateSpreadsFramesAndDropsABacklog(t *testing.T) {
	s := newShaper()
	line := Line{Rate: 1_000_000} // a frame of 1000 bytes takes 1 ms
	for i := range 201 {
		got := s.decide(line, began, 1000)
		want := began.Add(time.Duration(i+1) * time.Millisecond)
		if got.lost || !got.due.Equal(want) {
			t.Fatalf("frame %d: %+v, want due %v", i, got, want)
		}
	}
	if !s.decide(line, began, 1000).lost {
		t.Error("a frame behind 201 ms of others is kept, want it dropped")
	}
	if s.decide(line, began.Add(time.Second), 1000).lost {
		t.Error("a frame on the empty line is lost")
	}
}

func TestCutAndMaxFrame(t *testing.T) {
	s := newShaper()
	if !s.decide(Line{Cut: true}, began, 60).lost {
		t.Error("a frame passes a line that is cut")
	}
	line := Line{MaxFrame: 1300}
	if !s.decide(line, began, 1301).lost || s.decide(line, began, 1300).lost {
		t.Error("the limit of a frame is not at 1300 bytes")
	}
}
