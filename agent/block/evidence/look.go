package evidence

import (
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// LookOf puts a result into words; nil: there is none.
func LookOf(kind, target string, r checks.Result) *Look {
	if r.Verdict == "" {
		return nil
	}
	l := &Look{At: r.Start.UTC().Round(0), Kind: kind, Target: target, Verdict: r.Verdict, Reason: r.Reason, Phase: r.Phase,
		Detail: Line(r.Detail), Link: r.Path, Sent: r.Sent, Received: r.Received, RTT: Median(r.RTT).Seconds()}
	for _, s := range r.Steps {
		l.Steps = append(l.Steps, Step{Line(s.Name), s.Took.Seconds(), Line(s.Detail)})
	}
	for _, v := range r.Values {
		l.Values = append(l.Values, Value{v.Name, v.Number, v.Unit})
	}
	return l
}

// Median of none is 0.
func Median(list []time.Duration) time.Duration {
	switch len(list) {
	case 0:
		return 0
	case 1:
		return list[0]
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// FateOf is what became of a whole run; empty: it was not run.
func FateOf(r checks.Result) string {
	switch {
	case r.Verdict == checks.OK || r.Verdict == checks.Degraded:
		return string(checks.Answered)
	case r.Reason == checks.Blocked || r.Reason == checks.NotRun:
		return ""
	case r.Verdict == checks.Unknown:
		return string(checks.Unsent)
	case r.Reason == checks.Refused || r.Reason == checks.Unreachable:
		return string(checks.Denied)
	case r.Reason == checks.Timeout || r.Reason == checks.Loss:
		return string(checks.Lost)
	}
	return Wrong
}
