package reach

import "time"

// clockStep is the least difference between the wall clock and the monotonic
// one that cannot come from reading them one after the other.
const clockStep = 10 * time.Millisecond

// Stepped is by how much the wall clock was stepped from a to b, which have
// monotonic readings; 0: it was not.
func Stepped(a, b time.Time) time.Duration {
	step := time.Duration(b.UnixNano()-a.UnixNano()) - b.Sub(a)
	if step.Abs() < clockStep {
		return 0
	}
	return step.Round(time.Microsecond)
}
