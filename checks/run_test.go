package checks

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestPanicIsOurFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("odd", func(context.Context) Result {
			if runs++; runs == 4 {
				panic("index\nout of range")
			}
			return Result{Verdict: OK}
		}))
		r.Sync([]Spec{{Name: "odd", Kind: "odd", Interval: time.Second}})
		pass(10 * time.Second)
		got := sink.of("odd")[3]
		if got.Verdict != Unknown || got.Reason != SelfFault || got.Detail != "the check panicked: index; out of range" {
			t.Errorf("got %+v", got)
		}
		if got := sink.takeEdges(); !slices.Equal(got, []string{"odd unknown>up "}) {
			t.Errorf("edges %q: one fault of ours is no change", got)
		}
	})
}

func TestContradictionsAreOurFault(t *testing.T) {
	for _, r := range []Result{
		{}, {Verdict: "fine"}, {Verdict: OK, Reason: Slow}, {Verdict: Failed}, {Verdict: OK, Received: 1},
		{Verdict: OK, Sent: 1, RTT: []time.Duration{1}}, {Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{-1}},
		{Verdict: OK, Odd: Odd{Late: -1}}, {Verdict: OK, Sent: 2, Received: 1, Odd: Odd{Reordered: 2}},
	} {
		if got := judge(Spec{}, outcome{Result: r}); got.Verdict != Unknown || got.Reason != SelfFault || got.Detail == "" {
			t.Errorf("%+v was taken as %+v", r, got)
		}
	}
	ms := time.Millisecond
	slow := Result{Verdict: OK, Sent: 3, Received: 3, RTT: []time.Duration{90 * ms, 12 * ms, 13 * ms}}
	if got := judge(Spec{Degraded: 12 * ms}, outcome{Result: slow}); got.Verdict != Degraded || got.Reason != Slow {
		t.Errorf("a median of 13 ms above 12 ms is %+v", got)
	}
	if got := judge(Spec{Degraded: 13 * ms}, outcome{Result: slow}); got.Verdict != OK {
		t.Errorf("a median of 13 ms not above 13 ms is %+v", got)
	}
}

func TestLossOfOurOwnIsNoLoss(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Result
		want Reason
	}{
		{"nothing could be sent", Result{Verdict: Failed, Reason: Timeout, Odd: Odd{Unsent: 3}}, SelfFault},
		{"what was sent came back", Result{Verdict: Degraded, Reason: Loss, Sent: 2, Received: 2, Odd: Odd{Unsent: 1}}, SelfFault},
		{"and not all of it", Result{Verdict: Degraded, Reason: Loss, Sent: 2, Received: 1, Odd: Odd{Unsent: 1}}, Loss},
		{"good in spite of it", Result{Verdict: OK, Sent: 2, Received: 2, Odd: Odd{Unsent: 1}}, NoReason},
		{"no room for the answer", Result{Verdict: Failed, Reason: Timeout, Sent: 1, Odd: Odd{Dropped: 1}}, SelfFault},
		{"no room for one, two are missing", Result{Verdict: Degraded, Reason: Loss, Sent: 3, Received: 1, Odd: Odd{Dropped: 1}}, Loss},
		{"refused is refused", Result{Verdict: Failed, Reason: Refused, Sent: 1, Received: 1, Odd: Odd{Unsent: 1, Dropped: 9}}, Refused},
		{"blocked stays", Result{Verdict: Unknown, Reason: Blocked, Odd: Odd{Unsent: 1}}, Blocked},
	} {
		got := judge(Spec{}, outcome{Result: test.r})
		if got.Reason != test.want || (got.Verdict == Unknown) != (test.want == SelfFault || test.want == Blocked) {
			t.Errorf("%s: %+v, want %q", test.name, got, test.want)
		}
		if err := got.Valid(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestJudgeKeepsWhenItWas: a result that contradicts itself is ours, and as old as it was.
func TestJudgeKeepsWhenItWas(t *testing.T) {
	due := time.Unix(1_700_000_000, 0)
	got := judge(Spec{}, outcome{Result: Result{Verdict: OK, Reason: Loss, Due: due, Start: due.Add(time.Second)}})
	if got.Reason != SelfFault || !got.Due.Equal(due) || !got.Start.Equal(due.Add(time.Second)) {
		t.Errorf("got %+v", got)
	}
}
