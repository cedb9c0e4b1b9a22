package checks

import (
	"fmt"
	"slices"
)

// Valid says in what way r contradicts itself; nil: in none. A Runner takes an
// invalid Result as a fault of our own.
func (r Result) Valid() error {
	switch r.Verdict {
	case OK, Degraded, Failed, Unknown:
	default:
		return fmt.Errorf("verdict %q", r.Verdict)
	}
	switch {
	case (r.Verdict == OK) != (r.Reason == NoReason):
		return fmt.Errorf("verdict %s with reason %q", r.Verdict, r.Reason)
	case r.Received < 0 || r.Received > r.Sent:
		return fmt.Errorf("%d received of %d sent", r.Received, r.Sent)
	case len(r.RTT) > r.Received:
		return fmt.Errorf("%d times of %d answers", len(r.RTT), r.Received)
	case len(r.RTT) > 0 && slices.Min(r.RTT) < 0:
		return fmt.Errorf("a time of %v", slices.Min(r.RTT))
	case min(r.Odd.Late, r.Odd.Duplicate, r.Odd.Reordered, r.Odd.Corrupt, r.Odd.Unsent, r.Odd.Dropped) < 0:
		return fmt.Errorf("a count below zero in %+v", r.Odd)
	case r.Odd.Reordered > r.Received:
		return fmt.Errorf("%d reordered of %d answers", r.Odd.Reordered, r.Received)
	}
	return nil
}
