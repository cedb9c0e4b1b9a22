package checktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

func (s Subject) describesItself(t *T) {
	if s.Kind.Name == "" || s.Kind.Doc == "" || strings.Contains(s.Kind.Doc, "\n") {
		t.Errorf("name %q, doc %q: want a name and one line", s.Kind.Name, s.Kind.Doc)
	}
	for name, o := range s.Kind.Schema {
		if o.Doc == "" || strings.Contains(o.Doc, "\n") {
			t.Errorf("option %s: doc %q: want one line", name, o.Doc)
		}
	}
	if _, err := checks.NewRegistry(s.Kind); err != nil {
		t.Error(err)
	}
}

func (s Subject) refusesUnknownOptions(t *T) {
	target := s.target(s.Good, time.Second)
	target.Options = map[string]any{"no_such_option_here": true}
	_, err := s.Kind.Make(target)
	if _, ok := errors.AsType[*checks.OptionError](err); !ok {
		t.Errorf("got %v, want an OptionError", err)
	}
}

func (s Subject) goodTarget(t *T) {
	r := s.run(t, t.Context(), s.make(t, s.Good, patience))
	if r.Verdict != checks.OK {
		t.Fatalf("got %s", told(r))
	}
	if s.Timed && (len(r.RTT) == 0 || r.RTT[0] <= 0 || r.Stamps == "" || r.Received == 0) {
		t.Errorf("not timed: %s", told(r))
	}
	if !s.Timed && len(r.RTT) > 0 {
		t.Errorf("timed, yet the subject says that it is not: %s", told(r))
	}
}

func (s Subject) reusable(t *T) {
	check := s.make(t, s.Good, patience)
	for i := range 3 {
		if r := s.run(t, t.Context(), check); r.Verdict != checks.OK {
			t.Fatalf("run %d: %s", i+1, told(r))
		}
	}
	if s.Silent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	s.run(t, ctx, check)
	if r := s.run(t, t.Context(), check); r.Verdict != checks.OK {
		t.Errorf("after a run that was cut short: %s", told(r))
	}
}

// twoAtOnce runs two checks of the kind at the same time: they do not take each
// other's answers.
func (s Subject) twoAtOnce(t *T) {
	checksOf := []checks.Check{s.make(t, s.Good, patience), s.make(t, s.Good, patience)}
	results := make(chan checks.Result, len(checksOf))
	for _, c := range checksOf {
		go func() { results <- s.run(t, t.Context(), c) }()
	}
	for range checksOf {
		if r := <-results; r.Verdict != checks.OK {
			t.Errorf("got %s", told(r))
		}
	}
}

func (s Subject) endedContext(t *T) {
	check := s.make(t, s.Good, patience)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if r := s.run(t, cancelled, check); r.Verdict == checks.OK || r.Verdict == checks.Failed {
		t.Errorf("cancelled before it began: %s; want unknown, for it did not look", told(r))
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	s.run(t, late, check)
}

func (s Subject) absurdTargets(t *T) {
	for _, address := range []string{
		"", " ", ":", "::", ":0", "[", "]:1", "[::1", "host", "host:", "host:x", "host:-1", "host:65536", "256.256.256.256:1",
		"a b:1", "-:1", "http://", "http://:0", "ftp://host/", "\x00:1", "[fe80::1%nowhere]:1", "0.0.0.0:1", "192.0.2.1:99999",
		strings.Repeat("a", 300) + ":1", strings.Repeat("x.", 5000), "\xff\xfe:1", "[::ffff:192.0.2.1]:1", "%s%n:1",
	} {
		target := s.target(s.Good, 200*time.Millisecond)
		target.Address = address
		check, err := s.Kind.Make(target)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%q: refused without a word", address)
			}
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), target.Timeout)
		s.run(t, ctx, check)
		cancel()
	}
}

func (s Subject) refusingTarget(t *T) {
	want := s.RefusingReason
	if want == "" {
		want = checks.Refused
	}
	r := s.run(t, t.Context(), s.make(t, *s.Refusing, patience))
	if r.Verdict != checks.Failed && r.Verdict != checks.Unknown || r.Reason != want || r.Detail == "" {
		t.Errorf("got %s; want reason %s and a detail", told(r), want)
	}
	if len(r.RTT) > 0 {
		t.Errorf("a refusal was timed: %s", told(r))
	}
}

func (s Subject) obeysDeadline(t *T) {
	want := s.SilentReason
	if want == "" {
		want = checks.Timeout
	}
	check := s.make(t, *s.Silent, 500*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r := s.run(t, ctx, check)
	if r.Verdict != checks.Failed || r.Reason != want {
		t.Errorf("got %s; want failed, %s", told(r), want)
	}
	if r.Received != 0 || len(r.RTT) != 0 {
		t.Errorf("answers of a target that never answers: %s", told(r))
	}
}

func (s Subject) obeysCancel(t *T) {
	if s.SilentReason != "" && s.SilentReason != checks.Timeout {
		return // it does not wait
	}
	check := s.make(t, *s.Silent, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.AfterFunc(500*time.Millisecond, cancel) // by then it waits
	defer begun.Stop()
	if r := s.run(t, ctx, check); r.Verdict == checks.OK || len(r.RTT) != 0 {
		t.Errorf("got %s", told(r))
	}
}

// leavesNothing compares goroutines and open files before and after runs of all
// sorts.
func (s Subject) leavesNothing(t *T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))   // it would close what was forgotten
	s.run(t, t.Context(), s.make(t, s.Good, patience)) // what the kind keeps for good is there now
	goroutines, files := settled(runtime.NumGoroutine, 0), settled(openFiles, 0)
	for range 5 {
		s.run(t, t.Context(), s.make(t, s.Good, patience))
		if s.Silent != nil {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			s.run(t, ctx, s.make(t, *s.Silent, patience))
			cancel()
		}
	}
	if after := settled(runtime.NumGoroutine, goroutines); after > goroutines {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after:\n%s", goroutines, after, buf[:runtime.Stack(buf, true)])
	}
	if after := settled(openFiles, files); after > files {
		t.Errorf("%d open files before, %d after", files, after)
	}
}

// openFiles counts this process's, where the system can tell.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// settled waits until count is no more than want, or, with a want of 0, until
// it rests.
func settled(count func() int, want int) int {
	last, same := count(), 0
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n := count()
		if want > 0 && n <= want {
			return n
		}
		if same++; n != last {
			last, same = n, 0
		}
		if want == 0 && same >= 20 {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last
}

func (s Subject) target(t checks.Target, timeout time.Duration) checks.Target {
	if t.Check == "" {
		t.Check = "subject"
	}
	t.Timeout = timeout
	return t
}

func (s Subject) make(t *T, target checks.Target, timeout time.Duration) checks.Check {
	check, err := s.Kind.Make(s.target(target, timeout))
	if err != nil {
		t.Fatalf("making a check for %q: %v", target.Address, err)
	}
	return check
}

// run runs check and holds the result to what every result must be.
func (s Subject) run(t *T, ctx context.Context, check checks.Check) checks.Result {
	type end struct {
		r        checks.Result
		panicked any
	}
	ended := make(chan end, 1)
	begin := time.Now()
	go func() {
		var e end
		defer func() {
			e.panicked = recover()
			ended <- e
		}()
		e.r = check.Run(ctx)
	}()
	select {
	case e := <-ended:
		if e.panicked != nil {
			t.Errorf("panic: %v", e.panicked)
			return checks.Result{Verdict: checks.Unknown, Reason: checks.SelfFault}
		}
		for _, fault := range faultsOf(e.r, begin) {
			t.Errorf("%s: %s", fault, told(e.r))
		}
		return e.r
	case <-time.After(patience + 10*time.Second):
		t.Errorf("the run did not end")
		return checks.Result{Verdict: checks.Unknown, Reason: checks.SelfFault}
	}
}

var reasons = map[checks.Reason]bool{
	checks.NoReason: true, checks.Timeout: true, checks.Refused: true, checks.Unreachable: true, checks.NotResolved: true,
	checks.Certificate: true, checks.Protocol: true, checks.Assertion: true, checks.Slow: true, checks.Loss: true,
	checks.NoHandshake: true, checks.SelfFault: true, checks.Blocked: true, checks.NotRun: true, checks.ClockStepped: true,
}

var phases = map[checks.Phase]bool{
	checks.NoPhase: true, checks.PhaseResolve: true, checks.PhaseRoute: true, checks.PhaseConnect: true, checks.PhaseTLS: true,
	checks.PhaseRequest: true, checks.PhaseResponse: true, checks.PhaseAssert: true,
}

// faultsOf lists what is wrong with the form of a result.
func faultsOf(r checks.Result, begin time.Time) (faults []string) {
	if err := r.Valid(); err != nil {
		faults = append(faults, err.Error())
	}
	if !reasons[r.Reason] {
		faults = append(faults, fmt.Sprintf("reason %q is not of the list", r.Reason))
	}
	if !phases[r.Phase] {
		faults = append(faults, fmt.Sprintf("phase %q is not of the list", r.Phase))
	}
	if r.Verdict == checks.OK && r.Phase != checks.NoPhase {
		faults = append(faults, "a good result with a phase of failure")
	}
	if strings.ContainsAny(r.Detail, "\n\r") {
		faults = append(faults, "the detail is not one line")
	}
	if r.Start.Before(begin.Add(-time.Second)) || r.Start.After(time.Now().Add(time.Second)) {
		faults = append(faults, "the start is not when it began")
	}
	return faults
}
