// Package checktest is the suite that every kind of check passes, built in or
// plugin. A kind that passes it can be run by a checks.Runner beside the
// others: it ends when it is told to, says what it found in a form that does
// not contradict itself, and does not take a silent target for a good one.
package checktest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// patience is how long a run that should end by itself is waited for. It is no
// measure of speed.
const patience = 20 * time.Second

// Subject is a kind and targets for it, which the test makes: real ones where
// the kind uses the network. Check, Timeout and Source may be left empty.
type Subject struct {
	Kind checks.Kind

	// Good answers as it should.
	Good checks.Target
	// Timed: a good run says how long the answer took.
	Timed bool
	// NoGood says that there is no such target, so that only part of the suite
	// is run. No test of a kind sets it.
	NoGood bool

	// Refusing is there but says no; nil: there is nothing like that.
	Refusing       *checks.Target
	RefusingReason checks.Reason // empty: checks.Refused

	// Silent never answers; nil: there is nothing like that. A run then ends
	// with the deadline, unless its reason is another than checks.Timeout.
	Silent       *checks.Target
	SilentReason checks.Reason // empty: checks.Timeout
}

// part is a part of the suite.
type part struct {
	name string
	run  func(Subject, *T)
	rest bool // means nothing unless the good target is good
}

const goodPart = "good target"

// parts are those that s has targets for.
func (s Subject) parts() []part {
	parts := []part{
		{name: "describes itself", run: Subject.describesItself},
		{name: "refuses unknown options", run: Subject.refusesUnknownOptions},
		{name: "absurd targets", run: Subject.absurdTargets},
	}
	if !s.NoGood {
		parts = append(parts, part{name: goodPart, run: Subject.goodTarget}, part{"reusable", Subject.reusable, true},
			part{"two at once", Subject.twoAtOnce, true}, part{"ended context", Subject.endedContext, true})
	}
	if s.Refusing != nil {
		parts = append(parts, part{name: "refusing target", run: Subject.refusingTarget})
	}
	if s.Silent != nil {
		parts = append(parts, part{name: "silent target obeys the deadline", run: Subject.obeysDeadline},
			part{name: "silent target obeys cancel", run: Subject.obeysCancel})
	}
	if !s.NoGood {
		parts = append(parts, part{"leaves nothing open", Subject.leavesNothing, true})
	}
	return parts
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, s Subject) {
	t.Helper()
	for _, p := range s.parts() {
		t.Run(p.name, func(t *testing.T) {
			for _, fault := range s.play(t.Context(), p) {
				t.Error(fault)
			}
		})
	}
}

// Hold runs the suite outside of a test, and tells of each part as it ends;
// nothing is wrong with it where there are no faults. It returns the parts that
// were left out because the good target was not good: they would say that again.
func Hold(ctx context.Context, s Subject, tell func(part string, faults []string)) (left []string) {
	good := true
	for _, p := range s.parts() {
		if p.rest && !good {
			left = append(left, p.name)
			continue
		}
		faults := s.play(ctx, p)
		if p.name == goodPart {
			good = len(faults) == 0
		}
		tell(p.name, faults)
	}
	return left
}

// play runs one part, in a goroutine that it may end.
func (s Subject) play(ctx context.Context, p part) []string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &T{ctx: ctx}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.run(s, t)
	}()
	<-ended
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.faults
}

// T is what a part of the suite tells its faults.
type T struct {
	ctx    context.Context
	mu     sync.Mutex
	faults []string
}

// Context ends with the part.
func (t *T) Context() context.Context { return t.ctx }

// Error and Errorf note a fault, Fatalf ends the part with it.
func (t *T) Error(v ...any) { t.Errorf("%s", fmt.Sprint(v...)) }

func (t *T) Errorf(format string, v ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, fmt.Sprintf(format, v...))
}

func (t *T) Fatalf(format string, v ...any) {
	t.Errorf(format, v...)
	runtime.Goexit()
}
