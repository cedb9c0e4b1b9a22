package builtin

import (
	"fmt"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/internal/echo"
	"github.com/ginnel/ginnel/checks/reach"
)

// mtuSearch narrows down the longest packet that passes. What does not pass counts
// as too long only where a length that has passed still does: else it is loss.
type mtuSearch struct {
	probe func(size int) (echo.Outcome, error) // the error is of a context that is done
	most  int                                  // what to look for

	good  int  // the longest that has passed; at first what is tried first
	told  bool // a router, or this host, said that one was too long
	found bool // good is the longest that passes
	steps []checks.Step
}

// run searches, and says what is wrong; nil: the longest passes.
func (s *mtuSearch) run(to string) *reach.Fault {
	s.good = min(s.good, s.most)
	o, passed := s.ask(s.good)
	if !passed {
		if o.Denial != nil || o.Broken || ours(o) {
			return &reach.Fault{Result: verdictOf(o.Result(to))}
		}
		return reach.Fail(checks.Timeout, checks.PhaseResponse, "no answer from %s, not even to packets of %d bytes", to, s.good)
	}
	for bad, next := s.most+1, s.most; s.good+1 < bad; {
		o, passed := s.ask(next)
		hint := s.hint(o)
		if !passed && !o.Broken && !ours(o) {
			var f *reach.Fault
			if passed, f = s.again(next, to); f != nil {
				return f
			}
		}
		switch {
		case passed:
			s.good = next
		case o.Broken:
			return brokenOff(to)
		case ours(o):
			return &reach.Fault{Result: verdictOf(o.Result(to))}
		default:
			bad = next
		}
		next = s.good + (bad-s.good)/2
		if hint > s.good && hint < bad {
			next = hint
		}
	}
	s.found = true
	if s.good >= s.most {
		return nil
	}
	why := "nobody says so: a black hole"
	if s.told {
		why = "as a router says"
	}
	f := reach.Fail(checks.Assertion, checks.PhaseRoute, "packets of up to %d bytes pass to %s, less than %d (%s)", s.good, to, s.most, why)
	f.Verdict = checks.Degraded
	return f
}

// again makes sure that packets of a length do not pass, while those of a length that
// did still do. Where some of these are lost a train of the others may have been as
// well: one more is sent. The fault is of what keeps us from telling.
func (s *mtuSearch) again(size int, to string) (passed bool, f *reach.Fault) {
	o, still := s.ask(s.good)
	switch {
	case o.Broken:
		return false, brokenOff(to)
	case !still:
		f := reach.Fail(checks.Loss, checks.PhaseResponse, "packets of %d bytes passed to %s, and then did not: what is lost is not for its length", s.good, to)
		f.Verdict = checks.Degraded
		return false, f
	case o.Received == o.Sent:
		return false, nil
	}
	if o, passed = s.ask(size); o.Broken {
		return false, brokenOff(to)
	}
	return passed, nil
}

func brokenOff(to string) *reach.Fault {
	return reach.Ours(checks.NotRun, checks.PhaseResponse, "looking for the longest packet to %s: broken off", to)
}

// ours says that this host may have lost something itself, but for what it found too
// long.
func ours(o echo.Outcome) bool {
	return o.Dropped > 0 || o.Err != nil || o.Odd.Unsent > 0 && o.Denial == nil
}

// verdictOf is what a result says, without its figures.
func verdictOf(r checks.Result) checks.Result {
	return checks.Result{Verdict: r.Verdict, Reason: r.Reason, Phase: r.Phase, Detail: r.Detail}
}

// ask sends packets of a length, and says whether one passed.
func (s *mtuSearch) ask(size int) (o echo.Outcome, passed bool) {
	o, err := s.probe(size)
	passed = err == nil && o.Received > 0
	step := checks.Step{Phase: checks.PhaseResponse, Name: fmt.Sprintf("%d bytes", size), Detail: "pass"}
	if passed {
		step.Took = o.RTT[0]
	} else {
		step.Detail = "do not pass"
	}
	if hint := s.hint(o); hint > 0 {
		step.Detail += fmt.Sprintf("; %d would, it was said", hint)
	}
	s.steps = append(s.steps, step)
	o.Broken = o.Broken || err != nil
	return o, passed
}

// hint is what somebody said would pass; 0: nobody did.
func (s *mtuSearch) hint(o echo.Outcome) (bytes int) {
	for _, p := range o.Packets {
		if p.Denial != nil && p.Denial.MTU > 0 {
			bytes, s.told = p.Denial.MTU, true
		}
	}
	return bytes
}
