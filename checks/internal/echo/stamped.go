package echo

import (
	"time"

	"github.com/ginnel/ginnel/checks"
)

// level is the best clock that has timed the answer.
func (p *packet) level() checks.Stamps {
	for _, s := range []checks.Stamps{checks.KernelStamps, checks.KernelRXStamps} {
		if _, ok := p.rtt(s); ok {
			return s
		}
	}
	return checks.UserStamps
}

// rtt is the time to the answer by a clock; false: that one has not timed it,
// and it is by this process's. The kernel's stamps are of the wall clock, which
// may be set at any time; this process's are monotonic as well, and lie around
// them.
func (p *packet) rtt(by checks.Stamps) (time.Duration, bool) {
	user := p.back.Sub(p.sent)
	sent := p.kSent
	if by == checks.KernelRXStamps {
		sent = p.sent.UnixNano()
	}
	if by == checks.UserStamps || sent == 0 || p.kBack == 0 {
		return user, by == checks.UserStamps
	}
	step := time.Duration(p.back.UnixNano()-p.sent.UnixNano()) - user
	if d, ok := between(time.Duration(p.kBack-sent), user, step); ok {
		return d, true
	}
	return user, false
}

// unsure is the least difference between the two clocks that is taken for a step of
// one. Less may come from reading them one after the other: of two million pairs of
// readings one in a hundred thousand was further apart, on busy processors as well.
const unsure = 50 * time.Microsecond

// between is the time between two stamps of the wall clock, which are d apart. They
// lie between two readings that are user apart by the monotonic clock, and from one
// to the other of which the wall clock was set forward by step. Whether it was set
// between the stamps is known where d or d less the step does not fit between the
// readings; false: it is not known.
func between(d, user, step time.Duration) (time.Duration, bool) {
	fits := func(d time.Duration) bool { return d >= 0 && d <= user }
	switch {
	case step.Abs() < unsure:
		return d, fits(d)
	case fits(d) == fits(d-step):
		return 0, false
	case fits(d):
		return d, true
	}
	return d - step, true
}
