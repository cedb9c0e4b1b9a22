package checks

import (
	"context"
	"fmt"
	"runtime"
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
