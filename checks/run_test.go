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
