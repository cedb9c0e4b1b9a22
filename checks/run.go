package checks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// grace is how long after its deadline a run may still return its own answer,
// which says more than "timeout".
const grace = 250 * time.Millisecond

// outcome is what became of a run.
type outcome struct {
	Result
	stack []byte // of a panic
}

// measure runs check once with a deadline, in a goroutine by start, which
// somebody waits for: a check that ignores its deadline outlives measure.
func measure(ctx context.Context, check Check, timeout time.Duration, start func(func())) outcome {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	results := make(chan outcome, 1)
	start(func() {
		defer cancel()
		results <- guarded(ctx, check)
	})
	late := time.NewTimer(timeout + grace)
	defer late.Stop()
	var o outcome
	select {
	case o = <-results:
	case <-late.C:
		o.Result = Result{Verdict: Failed, Reason: Timeout, Detail: fmt.Sprintf("the check did not end within its %v", timeout)}
	}
	if o.Start.IsZero() {
		o.Start = begin
	}
	return o
}

// guarded runs check and turns a panic into a fault of our own.
func guarded(ctx context.Context, check Check) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = panicked(p, debug.Stack())
		}
	}()
	return outcome{Result: check.Run(ctx)}
}

func panicked(p any, stack []byte) outcome {
	return outcome{Result: selfFault(fmt.Sprintf("the check panicked: %v", p)), stack: stack}
}

func selfFault(detail string) Result {
	return Result{Verdict: Unknown, Reason: SelfFault, Detail: oneLine(detail), Start: time.Now()}
}

// notRun is the result of a check that could not be made.
func notRun(err error) Result {
	detail := err.Error()
	hint := ""
	if e, ok := errors.AsType[*OptionError](err); ok {
		hint = e.Hint
	} else if e, ok := errors.AsType[*noKind](err); ok {
		hint = e.Hint()
	}
	if hint != "" {
		detail += " (hint: " + hint + ")"
	}
	return Result{Verdict: Unknown, Reason: NotRun, Detail: oneLine(detail), Start: time.Now()}
}

// oneLine makes foreign text fit for a line of a terminal.
func oneLine(s string) string {
	const most = 300
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' }), "; ")
	s = strings.ToValidUTF8(s, "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
