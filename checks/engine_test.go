package checks

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// shared is a Starter: f gets what Begin gets.
type shared func(ctx context.Context, deadline time.Time, done func(Result))

func (f shared) Run(ctx context.Context) Result {
	result := make(chan Result, 1)
	deadline, _ := ctx.Deadline()
	f(ctx, deadline, func(r Result) { result <- r })
	return <-result
}

func (f shared) Begin(ctx context.Context, deadline time.Time, done func(Result)) {
	f(ctx, deadline, done)
}

func sharedKind(f shared) Kind {
	return Kind{Name: "shared", New: func(Target) (Check, error) { return f, nil }}
}

var well = Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{time.Millisecond}}

func TestStarterTakesNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		var begun, most atomic.Int64
		r, sink := newTestRunner(t, RunnerOptions{}, sharedKind(func(_ context.Context, deadline time.Time, done func(Result)) {
			if left := time.Until(deadline); left != 900*time.Millisecond {
				t.Errorf("%v until the deadline", left)
			}
			begun.Add(1)
			most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			time.AfterFunc(5*time.Millisecond, func() { done(well) })
		}))
		var specs []Spec
		for i := range n {
			specs = append(specs, Spec{Name: fmt.Sprint("check", i), Kind: "shared", Interval: time.Second})
		}
		before := runtime.NumGoroutine()
		r.Sync(specs)
		pass(10 * time.Second)
		for i, st := range r.Status() {
			got := sink.of(st.Spec.Name)
			if st.State != Up || len(got) < 9 || len(got) > 11 {
				t.Fatalf("%s: %d runs, %s", st.Spec.Name, len(got), st.State)
			}
			for _, res := range got {
				if i == 0 && (res.Due.IsZero() || res.Start.Sub(res.Due) != 0) {
					t.Errorf("due %v, began %v", res.Due, res.Start)
				}
				if res.Start.UnixNano()%int64(tick) != 0 {
					t.Fatalf("%s began between ticks: %v", st.Spec.Name, res.Start)
				}
			}
		}
		if grown := int(most.Load()) - before; grown > 50 {
			t.Errorf("%d more goroutines with %d checks", grown, n)
		}
		if lag := r.Lag(); lag.Starts != uint64(begun.Load()) || lag.P99 != 0 || lag.Missed != 0 {
			t.Errorf("%d begun, lag %+v", begun.Load(), lag)
		}
	})
}

func TestStarterThatDoesNotKeepItsWord(t *testing.T) {
	for _, test := range []struct {
		name string
		f    func(run int, done func(Result))
		want string // reasons of the first results
	}{
		{"never done", func(int, func(Result)) {}, "timeout self_fault self_fault"},
		{"done late", func(_ int, done func(Result)) { time.AfterFunc(1500*time.Millisecond, func() { done(well) }) }, "timeout self_fault timeout"},
		{"done twice", func(_ int, done func(Result)) {
			done(well)
			time.AfterFunc(100*time.Millisecond, func() { done(Result{Verdict: Failed, Reason: Refused}) })
		}, "  "},
		{"done twice, into the next run", func(run int, done func(Result)) {
			if run == 1 {
				done(well)
				time.AfterFunc(1100*time.Millisecond, func() { done(Result{Verdict: Failed, Reason: Refused}) })
				return
			}
			time.AfterFunc(200*time.Millisecond, func() { done(well) })
		}, "  "},
		{"panics", func(int, func(Result)) { panic("no") }, "self_fault self_fault self_fault"},
		{"says nothing", func(_ int, done func(Result)) { done(Result{}) }, "self_fault self_fault self_fault"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				runs := 0
				var last func(Result)
				r, sink := newTestRunner(t, RunnerOptions{}, sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
					runs++
					last = done
					test.f(runs, done)
				}))
				r.Sync([]Spec{{Name: "a", Kind: "shared", Interval: time.Second}})
				pass(5 * time.Second)
				got := ""
				for i, res := range sink.of("a")[:3] {
					if i > 0 {
						got += " "
					}
					got += string(res.Reason)
				}
				if got != test.want {
					t.Errorf("reasons %q, want %q", got, test.want)
				}
				r.Sync(nil)
				last(well) // or Close waits for it for ever
			})
		})
	}
}

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

// BenchmarkRunner runs checks that answer at once, as fast as they come, and
// tells the CPU time of one run in all threads.
func BenchmarkRunner(b *testing.B) {
	const n = 1000
	registry, err := NewRegistry(sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
		done(Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{time.Millisecond}})
	}))
	if err != nil {
		b.Fatal(err)
	}
	left := &counter{end: make(chan struct{})}
	left.n.Store(int64(b.N))
	r := NewRunner(RunnerOptions{Gateway: "avocet-1", Registry: registry, Sink: left})
	var specs []Spec
	for i := range n {
		specs = append(specs, Spec{Name: fmt.Sprint("check", i), Kind: "shared", Interval: 5 * tick})
	}
	b.ReportAllocs()
	before := cpu(b)
	r.Sync(specs)
	<-left.end
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/run")
	r.Close()
}

type counter struct {
	n   atomic.Int64
	end chan struct{}
}

func (c *counter) Edge(Spec, Edge) {}

func (c *counter) Sample(Spec, Result) {
	if c.n.Add(-1) == 0 {
		close(c.end)
	}
}

// cpu is the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCloseTellsNothing: a run that we cut off says nothing of its target.
func TestCloseTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := 0
		kind := testKind("hangs", Func(func(ctx context.Context) Result {
			started++
			<-ctx.Done()
			return Result{Verdict: Unknown, Reason: NotRun, Detail: "broken off"}
		}))
		r, sink := newTestRunner(t, RunnerOptions{}, kind)
		r.Sync([]Spec{{Name: "a", Kind: "hangs", Interval: time.Hour, Target: Target{Timeout: time.Minute}}})
		pass(firstWithin + time.Second)
		r.Close()
		if got := sink.of("a"); started != 1 || len(got) != 0 {
			t.Errorf("%d runs, told %+v", started, got)
		}
	})
}
