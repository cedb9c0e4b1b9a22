package checks

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLateEngineIsOurFault holds the engine up, as a machine without CPU does.
func TestLateEngineIsOurFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hold atomic.Bool
		holding := func(Spec) (string, bool) {
			if hold.Swap(false) {
				time.Sleep(3500 * time.Millisecond)
			}
			return "", false
		}
		var mu sync.Mutex
		var dones []func(Result)
		r, sink := newTestRunner(t, RunnerOptions{Blocker: holding},
			sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
				mu.Lock()
				defer mu.Unlock()
				dones = append(dones, done)
			}))
		r.Sync([]Spec{{Name: "a", Kind: "shared", Interval: time.Second}, {Name: "b", Kind: "shared", Interval: time.Second}})
		hold.Store(true)
		pass(10 * time.Second)
		faults := 0
		for _, name := range []string{"a", "b"} {
			for _, res := range sink.of(name) {
				if res.Reason == SelfFault && res.Detail != "not started: the run before has not ended" {
					faults++
				}
			}
		}
		if lag := r.Lag(); lag.Missed < 2 || lag.Max < 2*time.Second {
			t.Errorf("lag %+v", lag)
		}
		if faults == 0 {
			t.Errorf("nobody says that the program was held up: %+v, %+v", sink.of("a")[0], sink.of("b")[0])
		}
		r.Sync(nil)
		for _, done := range dones {
			done(well)
		}
	})
}

// TestAnswerMissedByUs lets a run end by its deadline while this program is, or is
// not, held up over that.
func TestAnswerMissedByUs(t *testing.T) {
	lost := Result{Verdict: Failed, Reason: Timeout, Sent: 1}
	byKernel, refused := lost, Result{Verdict: Failed, Reason: Refused, Sent: 1, Received: 1}
	byKernel.Stamps = KernelRXStamps
	for _, test := range []struct {
		name string
		held time.Duration // over the deadline
		r    Result
		want Reason
	}{
		{"in time", 0, lost, Timeout},
		{"a little late", heldUp, lost, Timeout},
		{"too late to say", 200 * time.Millisecond, lost, SelfFault},
		{"the kernel knows", 200 * time.Millisecond, byKernel, Timeout},
		{"an answer is an answer", 200 * time.Millisecond, refused, Refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var held atomic.Int64 // what the clock jumps ahead, as after a standstill
				now := func() time.Time { return time.Now().Add(time.Duration(held.Load())) }
				r, sink := newTestRunner(t, RunnerOptions{now: now}, sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
					time.AfterFunc(4900*time.Millisecond, func() {
						if test.held > 0 {
							held.Store(int64(10*time.Millisecond + test.held))
						}
					})
					time.AfterFunc(4990*time.Millisecond, func() { done(test.r) })
				}))
				r.Sync([]Spec{{Name: "a", Kind: "shared", Interval: 30 * time.Second}})
				pass(firstWithin + 5*time.Second)
				if got := sink.of("a")[0]; got.Reason != test.want || got.Valid() != nil {
					t.Errorf("got %+v, want %q", got, test.want)
				}
			})
		})
	}
}

// TestTimesOfAStandstill lets a run end well while this program is, or is not, held
// up: times that it took itself are left out then, and the kernel's are not.
func TestTimesOfAStandstill(t *testing.T) {
	const took = 300 * time.Millisecond
	good := func(s Stamps) Result {
		return Result{Verdict: OK, Sent: 3, Received: 2, RTT: []time.Duration{took, took}, Stamps: s,
			Packets: []Packet{{RTT: took, Fate: Answered}, {RTT: took, Fate: Answered}, {Fate: Lost}}}
	}
	paired, slow := good(KernelStamps), good(UserStamps)
	paired.Beside = new(good(UserStamps))
	slow.Verdict, slow.Reason, slow.Detail = Degraded, Slow, "0.3 s, says the plugin"
	for _, test := range []struct {
		name  string
		held  time.Duration
		at    time.Duration // since the start; the run ends after took
		r     Result
		timed bool
		want  string
	}{
		{"not held up", 0, 0, good(UserStamps), true, "ok"},
		{"a little", heldUp, 10 * time.Millisecond, good(UserStamps), true, "ok"},
		{"in the middle", 200 * time.Millisecond, 90 * time.Millisecond, good(UserStamps), false, "ok not timed: this program was held up for 200ms"},
		{"at the end", 200 * time.Millisecond, took - time.Millisecond, good(UserStamps), false, "ok not timed: this program was held up for 200ms"},
		{"the kernel knows", 200 * time.Millisecond, 90 * time.Millisecond, good(KernelRXStamps), true, "ok"},
		{"a pair", 200 * time.Millisecond, 90 * time.Millisecond, paired, true, "ok"},
		{"a plugin's word", 200 * time.Millisecond, 90 * time.Millisecond, slow, false, "unknown this program was held up for 200ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var held atomic.Int64 // as above
				now := func() time.Time { return time.Now().Add(time.Duration(held.Load())) }
				r, sink := newTestRunner(t, RunnerOptions{now: now}, sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
					time.AfterFunc(test.at, func() { held.Store(int64(test.held)) })
					time.AfterFunc(took, func() { done(test.r) })
				}))
				r.Sync([]Spec{{Name: "a", Kind: "shared", Interval: 30 * time.Second, Degraded: time.Second}})
				pass(firstWithin + time.Second)
				got := sink.of("a")[0]
				told := strings.TrimSpace(fmt.Sprint(got.Verdict, " ", got.Detail))
				if told != test.want || got.Valid() != nil || got.Received != 2 {
					t.Errorf("told %q: %+v", told, got)
				}
				if (len(got.RTT) > 0) != test.timed || (got.Packets[0].RTT > 0) != test.timed || test.r.Packets[0].RTT != took {
					t.Errorf("%+v", got)
				}
				if got.Beside != nil && len(got.Beside.RTT) != 0 {
					t.Errorf("beside: %+v", got.Beside)
				}
				if f := r.Status()[0].Figures; (f.Timed > 0) != test.timed || (f.Jitter.Of > 0) != test.timed {
					t.Errorf("%+v", f)
				}
			})
		})
	}
}

// TestSleepIsNoLoss has the machine sleep in every second run, of which the clock
// that is never set knows nothing.
func TestSleepIsNoLoss(t *testing.T) {
	answered := Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{time.Millisecond}, Stamps: UserStamps}
	lost := Result{Verdict: Failed, Reason: Timeout, Sent: 1}
	lossy := Result{Verdict: Degraded, Reason: Loss, Sent: 2, Received: 1, RTT: answered.RTT, Stamps: UserStamps}
	for r, want := range map[*Result]string{
		&answered: "ok not timed: this program was held up for 1h0m0s",
		&lost:     "unknown this program was held up for 1h0m0s",
		&lossy:    "unknown this program was held up for 1h0m0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			var slept atomic.Int64
			runs := 0
			asleep := func() time.Duration { return time.Duration(slept.Load()) }
			runner, sink := newTestRunner(t, RunnerOptions{Asleep: asleep}, sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
				if runs++; runs%2 == 0 {
					slept.Add(int64(time.Hour))
				}
				done(*r)
			}))
			runner.Sync([]Spec{{Name: "a", Kind: "shared", Interval: 10 * time.Second}})
			pass(time.Minute)
			for i, got := range sink.of("a") {
				if told := fmt.Sprint(got.Verdict, " ", got.Detail); (told == want) != (i%2 == 1) || i%2 == 1 && len(got.RTT) > 0 {
					t.Errorf("run %d: %s, want %s in every second", i, told, want)
				}
			}
		})
	}
}
