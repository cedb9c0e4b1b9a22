package checks

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// flight is one run of a worker, from its start to its end. The engine's mu
// guards what follows deadline.
type flight struct {
	worker   *worker
	due      time.Time     // when it should have begun
	start    time.Time     // when it did
	deadline time.Time     // of the check
	late     time.Time     // when the engine answers for it
	lookAt   time.Time     // when the engine looks whether it is there itself; not after deadline
	stalled  time.Duration // by how much it was late for that, at worst
	slept    time.Duration // what the machine had slept before the start
	passed   bool          // the engine has seen the deadline go by
	behind   time.Duration // by how much it was late itself for that
	answered bool          // it has answered for the run
	why      string        // it is refused
}

// do carries out what a turn decided.
func (a act) do() {
	f := a.flight
	switch a.kind {
	case begins:
		f.begin()
	case skips:
		f.worker.skipped.Add(1)
		f.tell(outcome{Result: selfFault("not started: the run before has not ended")})
	case refuses:
		f.tell(outcome{Result: refusal(f.why, f.start)})
	case overdue:
		f.tell(outcome{Result: f.overrun()})
	}
}

// begin starts the run, and returns at once.
func (f *flight) begin() {
	w := f.worker
	if w.err != nil {
		f.end(outcome{Result: notRun(w.err)})
		return
	}
	if r, blocked := w.runner.blocked(w.spec); blocked {
		f.end(outcome{Result: r})
		return
	}
	if s, ok := w.check.(Starter); ok {
		f.beginShared(s)
		return
	}
	go func() {
		ctx, cancel := context.WithDeadline(w.ctx, f.deadline)
		defer cancel()
		f.end(guarded(ctx, w.check))
	}()
}

// beginShared starts a run that has no goroutine of its own.
func (f *flight) beginShared(s Starter) {
	defer func() {
		if p := recover(); p != nil {
			f.end(panicked(p, debug.Stack()))
		}
	}()
	s.Begin(f.worker.ctx, f.deadline, func(r Result) { f.end(outcome{Result: r}) })
}

// end takes the end of the run, once.
func (f *flight) end(o outcome) {
	w := f.worker
	again, answered := w.runner.engine.ended(f, o.Result)
	if again {
		return
	}
	defer w.runner.wg.Done()
	if !answered {
		f.tell(o)
	}
}

// tell passes on what is known of the run, unless it was cut off by us: then it
// says nothing.
func (f *flight) tell(o outcome) {
	if f.worker.ctx.Err() != nil {
		return
	}
	o.Due = f.due
	if o.Start.IsZero() {
		o.Start = f.start
	}
	f.worker.runner.teller.deliver(f.worker, f.excuse(o))
}

// refusal is the result of a run that manners forbid.
func refusal(why string, at time.Time) Result {
	return Result{Verdict: Unknown, Reason: NotRun, Detail: oneLine(why), Start: at}
}

// overrun is the result of a run that has not ended in time.
func (f *flight) overrun() Result {
	return Result{Verdict: Failed, Reason: Timeout, Start: f.start,
		Detail: fmt.Sprintf("the check did not end within its %v", f.worker.spec.Target.Timeout)}
}

// heldUp is how late this program may be for a deadline before an answer that it
// did not see may well have been there, and for a look before times that it took
// meanwhile may be its own.
const heldUp = 100 * time.Millisecond

// looks is from one look of the engine at a run to the next. Other checks begin at
// the same time, if any do.
const looks = together

// look notes whether this program was there when it wanted to.
func (f *flight) look(now time.Time) {
	if f == nil || f.passed {
		return
	}
	f.stalled = max(f.stalled, now.Sub(f.lookAt))
	f.lookAt = earlier(now.Add(looks), f.deadline)
}

// excuse takes the blame where an answer is missing and this program did not run
// when time was up, and for times that it took itself and did not run meanwhile. By
// the kernel's stamps it knows better.
func (f *flight) excuse(o outcome) outcome {
	if (o.Reason == Timeout || o.Reason == Loss) && f.behind > heldUp && (o.Stamps == "" || o.Stamps == UserStamps) {
		o.Verdict, o.Reason, o.Phase = Unknown, SelfFault, NoPhase
		o.Detail = fmt.Sprintf("this program was held up for %v", f.behind.Round(time.Millisecond))
	}
	if f.stalled > heldUp {
		o.Result = untimed(o.Result, f.stalled)
		if o.Beside != nil {
			o.Beside = new(untimed(*o.Beside, f.stalled))
		}
	}
	return o
}

// untimed leaves out of a result the times that this program took, which was held
// up meanwhile.
func untimed(r Result, stalled time.Duration) Result {
	if r.Stamps != UserStamps || len(r.RTT) == 0 {
		return r
	}
	why := fmt.Sprintf("this program was held up for %v", stalled.Round(time.Millisecond))
	switch {
	case r.Reason == Slow:
		r.Verdict, r.Reason, r.Phase, r.Detail = Unknown, SelfFault, NoPhase, why
	case r.Verdict != Unknown:
		r.Detail = strings.TrimPrefix(r.Detail+"; not timed: "+why, "; ")
	}
	r.RTT, r.Stamps, r.Packets = nil, "", slices.Clone(r.Packets)
	for i := range r.Packets {
		r.Packets[i].RTT = 0
	}
	return r
}
