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
		if f := o.Result(to).Detail; o.Denial != nil || o.Err != nil || o.Broken || o.Dropped > 0 || o.Odd.Unsent > 0 {
			r := o.Result(to)
			return &reach.Fault{Result: checks.Result{Verdict: r.Verdict, Reason: r.Reason, Phase: r.Phase, Detail: f}}
		}
		return reach.Fail(checks.Timeout, checks.PhaseResponse, "no answer from %s, not even to packets of %d bytes", to, s.good)
	}
	for bad, next := s.most+1, s.most; s.good+1 < bad; {
		o, passed := s.ask(next)
		hint := s.hint(o)
		switch {
		case passed:
			s.good = next
		case o.Broken:
			return reach.Ours(checks.NotRun, checks.PhaseResponse, "looking for the longest packet to %s: broken off", to)
		default:
			if _, still := s.ask(s.good); !still {
				f := reach.Fail(checks.Loss, checks.PhaseResponse, "packets of %d bytes passed to %s, and then did not: what is lost is not for its length", s.good, to)
				f.Verdict = checks.Degraded
				return f
			}
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
