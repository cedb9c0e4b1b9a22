package checks

import (
	"fmt"
	"slices"
	"time"
)

// judge holds a result to what every result must be, and to the wanted RTT.
func judge(s Spec, o outcome) Result {
	r := o.Result
	if err := r.Valid(); err != nil {
		f := selfFault("the check contradicts itself: " + err.Error())
		f.Due, f.Start = r.Due, r.Start
		return f
	}
	r.Detail = oneLine(r.Detail)
	if fault := ownFault(r); fault != "" {
		r.Verdict, r.Reason, r.Phase, r.Detail = Unknown, SelfFault, NoPhase, fault
		return r
	}
	if r.Verdict == OK && s.Degraded > 0 && len(r.RTT) > 0 {
		if m := median(r.RTT); m > s.Degraded {
			r.Verdict, r.Reason, r.Phase = Degraded, Slow, PhaseResponse
			r.Detail = fmt.Sprintf("%v, above %v", m.Round(time.Microsecond), s.Degraded)
		}
	}
	return r
}

// ownFault says what of our own makes r look like a loss; empty: nothing.
func ownFault(r Result) string {
	switch {
	case r.Verdict == Unknown || r.Reason != Timeout && r.Reason != Loss:
		return ""
	case r.Odd.Unsent > 0 && r.Received == r.Sent:
		return fmt.Sprintf("%d of %d questions could not be sent by this host", r.Odd.Unsent, r.Odd.Unsent+r.Sent)
	case r.Odd.Dropped > 0 && r.Odd.Dropped >= r.Sent-r.Received:
		return fmt.Sprintf("this host had no room for %d answers", r.Odd.Dropped)
	}
	return ""
}

// conclude judges an outcome, by what is known of the way too.
func (r *Runner) conclude(s Spec, o outcome) Result {
	result := judge(s, o)
	if b := o.Beside; b != nil && result.Beside == b {
		other := judge(s, outcome{Result: *b})
		result.Beside = &other
		way := WayNotKnown
		if r.options.Way != nil {
			way = r.options.Way()
		}
		result = compare(result, way)
	}
	return r.excused(s, result)
}

func median(ds []time.Duration) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2]
}
