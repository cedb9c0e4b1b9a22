package checktest

import (
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// told is a result on one line, for the person who wrote the check: the verdict
// first, and what is empty left out.
func told(r checks.Result) string {
	words := []string{string(r.Verdict)}
	if r.Verdict == "" {
		words[0] = "no verdict"
	}
	if r.Reason != checks.NoReason {
		words = append(words, "reason "+string(r.Reason))
	}
	if r.Phase != checks.NoPhase {
		words = append(words, "phase "+string(r.Phase))
	}
	if r.Detail != "" {
		words = append(words, fmt.Sprintf("detail %.200q", r.Detail))
	}
	words = append(words, fmt.Sprintf("%d sent", r.Sent), fmt.Sprintf("%d received", r.Received))
	for _, odd := range []struct {
		n    int
		name string
	}{{r.Odd.Late, "late"}, {r.Odd.Duplicate, "duplicate"}, {r.Odd.Reordered, "reordered"}, {r.Odd.Corrupt, "corrupt"}, {r.Odd.Unsent, "unsent"}, {r.Odd.Dropped, "dropped"}} {
		if odd.n != 0 {
			words = append(words, fmt.Sprintf("%d %s", odd.n, odd.name))
		}
	}
	if len(r.RTT) > 0 {
		words = append(words, fmt.Sprintf("RTT %v", r.RTT))
	}
	if r.Stamps != "" {
		words = append(words, "stamps "+string(r.Stamps))
	}
	if r.Start.IsZero() {
		words = append(words, "no start")
	}
	return strings.Join(words, ", ")
}
