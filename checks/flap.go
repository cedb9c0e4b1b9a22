package checks

import "time"

// flap tells how much a check contradicts itself: the share of changes of
// verdict among its last results, of which the newer count for more. The slots,
// weights and bounds are those that Icinga and Nagios have. Results of verdict
// unknown are not among them.
type flap struct {
	above    int                   // percent from which it is unstable
	changed  *[flapSlots]time.Time // when results differed from the one before; zero: they did not; nil: none did
	next     int                   // in changed: the oldest
	last     Verdict
	unstable bool
}

const (
	flapSlots   = 20
	flapDefault = 30 // percent
	flapLess    = 5  // percent below that, and it is stable again
)

// add takes a result, and reports whether the check has just become unstable.
func (f *flap) add(r Result) (began bool) {
	changed := f.last != "" && r.Verdict != f.last
	if f.changed == nil && changed {
		f.changed = new([flapSlots]time.Time)
	}
	if f.changed != nil {
		f.changed[f.next] = time.Time{}
	}
	if changed {
		f.changed[f.next] = r.Start
	}
	f.next = (f.next + 1) % flapSlots
	f.last = r.Verdict
	was := f.unstable
	if was {
		f.unstable = f.percent() > float64(f.above-flapLess)
	} else {
		f.unstable = f.percent() > float64(f.above)
	}
	return f.unstable && !was
}

// percent is the weighted share of changes: 0.8 for the oldest result, and 0.02
// more for each after it.
func (f *flap) percent() float64 {
	sum := 0.0
	if f.changed == nil {
		return sum
	}
	for i := range flapSlots {
		if !f.changed[(f.next+i)%flapSlots].IsZero() {
			sum += 0.8 + 0.02*float64(i)
		}
	}
	return 100 * sum / flapSlots
}

// since is when the first of the changes was that count.
func (f *flap) since() (first time.Time) {
	if f.changed == nil {
		return first
	}
	for i := range flapSlots {
		if first = f.changed[(f.next+i)%flapSlots]; !first.IsZero() {
			break
		}
	}
	return first
}

// severity orders states from well to ill, for holding the worse one.
func severity(s State) int {
	switch s {
	case DegradedState:
		return 1
	case Down:
		return 2
	}
	return 0
}
