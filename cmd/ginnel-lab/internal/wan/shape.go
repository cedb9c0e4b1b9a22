package wan

import (
	"math/rand/v2"
	"time"
)

// Line is what a line does to frames, in each direction. The zero Line does
// nothing.
type Line struct {
	Delay    time.Duration // one way
	Jitter   time.Duration // added to Delay, evenly from 0 to this; order is kept
	Loss     float64       // share of frames lost, 0 to 1
	Rate     int64         // bytes a second; 0: no limit
	MaxFrame int           // longer frames, in bytes with the Ethernet header, vanish; 0: none do
	Cut      bool          // nothing passes, and nothing is said about it
}

// backlog is how long a frame may wait for a line with a Rate before it is
// dropped, as in a provider's queue.
const backlog = 200 * time.Millisecond

// fate is what becomes of one frame.
type fate struct {
	due  time.Time // when it arrives; meaningless when lost
	lost bool
}

// shaper decides the fate of frames of one direction, in their order. It has
// no clock and no socket.
type shaper struct {
	random *rand.Rand
	last   time.Time // due time of the frame before
	free   time.Time // when the line has sent all that it was given
}

// decide tells the fate of a frame of size bytes that entered the line at now.
func (s *shaper) decide(l Line, now time.Time, size int) fate {
	switch {
	case l.Cut,
		l.MaxFrame > 0 && size > l.MaxFrame,
		l.Loss > 0 && s.random.Float64() < l.Loss:
		return fate{lost: true}
	}
	due := now
	if l.Rate > 0 {
		if s.free.After(now) {
			due = s.free
		}
		if due.Sub(now) > backlog {
			return fate{lost: true}
		}
		due = due.Add(time.Duration(float64(size) / float64(l.Rate) * float64(time.Second)))
		s.free = due
	}
	due = due.Add(l.Delay)
	if l.Jitter > 0 {
		due = due.Add(time.Duration(s.random.Int64N(int64(l.Jitter))))
	}
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due
	return fate{due: due}
}
