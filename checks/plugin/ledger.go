package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Pauses between an end and the next start: short once, then growing. A program
// that lived for steady has earned a short one again.
const (
	pauseFirst = 250 * time.Millisecond
	pauseMost  = 240 // first ones: a minute
	steady     = time.Minute
)

// A program that ends, or cannot be started, budget times within budgetSpan is
// not started again: whatever it is, starting it does not mend it.
const (
	budget     = 10
	budgetSpan = 10 * time.Minute
)

// ledger remembers the ends of one program.
type ledger struct {
	first time.Duration // the first pause; 0: pauseFirst
	pause time.Duration
	ends  []time.Time // within budgetSpan
}

// verdict is what follows from an end.
type verdict struct {
	pause      time.Duration // 0: for ever
	quarantine string        // why; empty: it is started again
}

// lie is about a program that says other things of itself than it may.
type lie struct{ what string }

func (l *lie) Error() string { return l.what }

// ended decides what follows from an end, or from a start that did not succeed.
// A file that is missing, or not as its offer says, is no fault of the program:
// it costs nothing of the budget.
func (l *ledger) ended(now time.Time, lived time.Duration, err error) verdict {
	if l.pause == 0 || lived >= steady {
		l.pause = cmp.Or(l.first, pauseFirst)
	} else {
		l.pause = min(2*l.pause, pauseMost*cmp.Or(l.first, pauseFirst))
	}
	if _, ok := errors.AsType[*FileError](err); ok {
		return verdict{pause: l.pause}
	}
	if _, ok := errors.AsType[*lie](err); ok {
		return verdict{quarantine: "because of what it says of itself"}
	}
	for len(l.ends) > 0 && now.Sub(l.ends[0]) > budgetSpan {
		l.ends = l.ends[1:]
	}
	if l.ends = append(l.ends, now); len(l.ends) >= budget {
		return verdict{quarantine: fmt.Sprintf("after %d ends within %v", len(l.ends), budgetSpan)}
	}
	return verdict{pause: l.pause}
}
