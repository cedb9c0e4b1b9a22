package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a Sink that remembers.
type recorder struct {
	mu      sync.Mutex
	samples []sample
	edges   []string
}

type sample struct {
	check string
	Result
}

func (r *recorder) Sample(s Spec, res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, sample{s.Name, res})
}

func (r *recorder) Edge(s Spec, e Edge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges = append(r.edges, fmt.Sprintf("%s %s>%s %s", s.Name, e.From, e.To, e.Reason))
}

// of returns the results of one check so far.
func (r *recorder) of(check string) (list []Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.samples {
		if s.check == check {
			list = append(list, s.Result)
		}
	}
	return list
}

func (r *recorder) takeEdges() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.edges
	r.edges = nil
	return e
}

// testKind makes checks that run f.
func testKind(name string, f Func) Kind {
	return Kind{Name: name, Schema: Schema{"size": {Type: "int", Default: 1}}, New: func(Target) (Check, error) { return f, nil }}
}

func wellAfter(d time.Duration) Func {
	return func(ctx context.Context) Result {
		select {
		case <-time.After(d):
			return Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{d}}
		case <-ctx.Done():
			return Result{Verdict: Failed, Reason: Timeout, Sent: 1}
		}
	}
}

// newTestRunner returns a Runner that ends with the test's bubble.
func newTestRunner(t *testing.T, o RunnerOptions, kinds ...Kind) (*Runner, *recorder) {
	t.Helper()
	registry, err := NewRegistry(kinds...)
	if err != nil {
		t.Fatal(err)
	}
	sink := &recorder{}
	o.Gateway, o.Registry, o.Sink = "avocet-1", registry, sink
	r := NewRunner(o)
	t.Cleanup(func() { r.Close() })
	return r, sink
}

// pass lets time go by and everything settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRunnerRunsEachIntervalInPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("well", wellAfter(time.Millisecond)))
		s := Spec{Name: "records", Kind: "well", Interval: 10 * time.Second}
		r.Sync([]Spec{s})
		pass(65 * time.Second)
		phase := phaseOf("avocet-1", "records", s.Interval)
		inPhase := 0
		for _, res := range sink.of("records") {
			if time.Duration(res.Start.UnixNano())%s.Interval == phase {
				inPhase++
			}
		}
		if n := len(sink.of("records")); inPhase < 6 || n > inPhase+1 {
			t.Errorf("%d runs, %d in phase; want at least 6, and all but the first in phase", n, inPhase)
		}
		if got := sink.takeEdges(); !slices.Equal(got, []string{"records unknown>up "}) {
			t.Errorf("edges %q", got)
		}
		st := r.Status()[0]
		if st.State != Up || st.Figures.P50 != time.Millisecond || st.Counts.OK != uint64(len(sink.of("records"))) || st.Spec.StandsFor != "records" {
			t.Errorf("status %+v", st)
		}
		if loss, ok := st.Figures.Loss(); loss != 0 || !ok {
			t.Errorf("loss %v, %v", loss, ok)
		}
		r.Close()
		before := len(sink.of("records"))
		pass(time.Minute)
		r.Sync([]Spec{s})
		pass(time.Minute)
		if after := len(sink.of("records")); after != before {
			t.Errorf("%d runs after Close", after-before)
		}
	})
}

func TestFirstRunIsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("well", wellAfter(0)))
		var specs []Spec
		for i := range 50 {
			specs = append(specs, Spec{Name: fmt.Sprint("check", i), Kind: "well", Interval: 5 * time.Minute})
		}
		r.Sync(specs)
		pass(firstWithin)
		for _, s := range specs {
			if len(sink.of(s.Name)) == 0 {
				t.Errorf("%s has not run after %v", s.Name, firstWithin)
			}
		}
	})
}

func TestSyncLeavesUnchangedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("well", wellAfter(time.Millisecond)))
		spec := func(name string, size int64) Spec {
			return Spec{Name: name, Kind: "well", Interval: 10 * time.Second, Target: Target{Options: map[string]any{"size": size}}}
		}
		r.Sync([]Spec{spec("same", 1), spec("changed", 1), spec("gone", 1)})
		pass(time.Minute)
		before := r.Status()
		sink.takeEdges()
		r.Sync([]Spec{spec("changed", 2), spec("same", 1), spec("new", 1)})
		synctest.Wait()
		after := r.Status()
		if after[1].Counts != before[0].Counts || after[1].Since != before[0].Since || after[1].State != Up {
			t.Errorf("the unchanged check was %+v, is %+v", before[0], after[1])
		}
		if after[0].Counts.OK != 0 || after[0].State != UnknownState {
			t.Errorf("the changed check did not start anew: %+v", after[0])
		}
		edges := sink.takeEdges()
		slices.Sort(edges)
		if want := []string{"changed up>unknown not_run", "gone up>unknown not_run"}; !slices.Equal(edges, want) {
			t.Errorf("edges %q, want %q", edges, want)
		}
		gone := len(sink.of("gone"))
		pass(time.Minute)
		if len(sink.of("gone")) != gone {
			t.Error("a check that was taken out still runs")
		}
		for _, s := range r.Status() {
			if s.State != Up {
				t.Errorf("%s is %s", s.Spec.Name, s.State)
			}
		}
	})
}

func TestChecksThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusing := Kind{Name: "refusing", New: func(Target) (Check, error) { return nil, errors.New("no such target") }}
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("well", wellAfter(0)), refusing)
		r.Sync([]Spec{
			{Name: "a", Kind: "absent"},
			{Name: "b", Kind: "well", Target: Target{Options: map[string]any{"sise": int64(1)}}},
			{Name: "c", Kind: "refusing"},
			{Name: "d", Kind: "well"},
			{Name: "d", Kind: "well"},
		})
		pass(5 * time.Minute)
		status := r.Status()
		if len(status) != 4 {
			t.Fatalf("%d checks, want 4: the second d is left out", len(status))
		}
		for i, want := range []string{
			`kind "absent": no such kind here (hint: ginnel check list has them; programs are offered in /etc/ginnel/checks.d)`, "options.sise: unknown option (hint: size)", "no such target",
		} {
			s := status[i]
			if s.State != UnknownState || s.Last.Verdict != Unknown || s.Last.Reason != NotRun || s.Last.Detail != want || s.Err == nil {
				t.Errorf("%s: %+v, want detail %q", s.Spec.Name, s, want)
			}
			if got := sink.of(s.Spec.Name); len(got) < 9 || got[0].Reason != NotRun {
				t.Errorf("%s: %d samples, %+v", s.Spec.Name, len(got), got)
			}
		}
		if status[3].State != Up {
			t.Errorf("d is %s: the others took it with them", status[3].State)
		}
	})
}

func TestOverrunIsTimeoutAndNeverTwoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("deaf", func(context.Context) Result {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(25 * time.Second) // without a look at its context
			mu.Lock()
			running--
			mu.Unlock()
			return Result{Verdict: OK}
		}))
		s := Spec{Name: "deaf", Kind: "deaf", Interval: 10 * time.Second, Target: Target{Timeout: time.Second}}
		r.Sync([]Spec{s})
		pass(5 * time.Minute)
		got := sink.of("deaf")
		if got[0].Verdict != Failed || got[0].Reason != Timeout {
			t.Errorf("the overrun is %+v", got[0])
		}
		if got[1].Verdict != Unknown || got[1].Reason != SelfFault || r.Status()[0].Counts.Skipped == 0 {
			t.Errorf("the start after it is %+v", got[1])
		}
		for _, want := range []int{0, 1} { // until one has just begun
			for got := -1; got != want; {
				pass(time.Second)
				mu.Lock()
				got = running
				mu.Unlock()
			}
		}
		s.Interval = 11 * time.Second // a changed check waits for the old run too
		r.Sync([]Spec{s})
		pass(time.Minute)
		if most != 1 {
			t.Errorf("%d runs at once", most)
		}
		r.Close()
		if running != 0 {
			t.Error("Close did not wait for the run")
		}
	})
}

func TestBlockedIsNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down, ran atomic.Bool
		blocker := func(s Spec) (string, bool) { return s.Target.Network, down.Load() && s.Target.Network != "" }
		r, sink := newTestRunner(t, RunnerOptions{Blocker: blocker}, testKind("well", func(context.Context) Result {
			ran.Store(true)
			return Result{Verdict: OK}
		}))
		s := Spec{Name: "results", Kind: "well", Interval: time.Second, Target: Target{Network: "heron"}}
		r.Sync([]Spec{s})
		pass(5 * time.Second)
		down.Store(true)
		ran.Store(false)
		pass(5 * time.Second)
		st := r.Status()[0]
		if ran.Load() || st.State != UnknownState || st.WaitsFor != "heron" || st.Last.Reason != Blocked || st.Last.Detail != "waits: heron" {
			t.Errorf("ran: %v, status %+v", ran.Load(), st)
		}
		if got := r.RunOnce(t.Context(), s); got.Reason != Blocked {
			t.Errorf("run once: %+v", got)
		}
		down.Store(false)
		pass(5 * time.Second)
		want := []string{"results unknown>up ", "results up>unknown blocked", "results unknown>up "}
		if got := sink.takeEdges(); !slices.Equal(got, want) {
			t.Errorf("edges %q, want %q", got, want)
		}
		if st := r.Status()[0]; st.WaitsFor != "" {
			t.Errorf("still waits for %q", st.WaitsFor)
		}
	})
}

func TestExcusedIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var line atomic.Bool
		excuse := func(_ Spec, r Result) (string, bool) { return "line", line.Load() && r.Reason == Timeout }
		var bad atomic.Value
		bad.Store(Result{Verdict: OK, Sent: 1, Received: 1})
		r, sink := newTestRunner(t, RunnerOptions{Excuse: excuse}, testKind("any", func(context.Context) Result { return bad.Load().(Result) }))
		s := Spec{Name: "internet", Kind: "any", Interval: time.Second}
		r.Sync([]Spec{s})
		pass(5 * time.Second)
		bad.Store(Result{Verdict: Failed, Reason: Timeout, Phase: PhaseConnect, Sent: 1})
		line.Store(true)
		pass(5 * time.Second)
		st := r.Status()[0]
		if st.State != UnknownState || st.WaitsFor != "line" || st.Last.Valid() != nil || st.Counts.Failed != 0 || st.Figures.Sent != st.Figures.Received {
			t.Errorf("status %+v", st)
		}
		if got := r.RunOnce(t.Context(), s); got.Reason != Blocked {
			t.Errorf("run once: %+v", got)
		}
		bad.Store(Result{Verdict: Failed, Reason: Refused, Sent: 1, Received: 1})
		pass(5 * time.Second)
		want := []string{"internet unknown>up ", "internet up>unknown blocked", "internet unknown>down refused"}
		if got := sink.takeEdges(); !slices.Equal(got, want) {
			t.Errorf("edges %q, want %q", got, want)
		}
	})
}

// TestNothingAfterRetirement takes a check out of the config at a moment when
// its worker is between two steps.
func TestNothingAfterRetirement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, goOn := make(chan struct{}, 100), make(chan struct{})
		blocker := func(Spec) (string, bool) {
			asked <- struct{}{}
			<-goOn
			return "heron", true
		}
		r, sink := newTestRunner(t, RunnerOptions{Blocker: blocker}, testKind("well", wellAfter(0)))
		r.Sync([]Spec{{Name: "a", Kind: "well", Interval: time.Second}})
		<-asked
		r.Sync(nil)
		close(goOn)
		synctest.Wait()
		if n := len(sink.of("a")); n != 0 {
			t.Errorf("%d samples of a check that was taken out", n)
		}
	})
}

func TestMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("well", wellAfter(0)))
		r.Sync([]Spec{{Name: "a", Kind: "well", Interval: time.Second}})
		pass(5 * time.Second)
		r.Maintain(true)
		r.Sync([]Spec{{Name: "a", Kind: "well", Interval: time.Second}, {Name: "b", Kind: "well", Interval: time.Second}})
		before := len(sink.of("a"))
		pass(5 * time.Second)
		for _, s := range r.Status() {
			if s.State != MaintenanceMode {
				t.Errorf("%s is %s", s.Spec.Name, s.State)
			}
		}
		if len(sink.of("a")) == before {
			t.Error("nothing is sampled in maintenance")
		}
		r.Maintain(false)
		pass(5 * time.Second)
		if s := r.Status()[0]; s.State != Up {
			t.Errorf("after maintenance it is %s", s.State)
		}
	})
}

func TestRunOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sink := newTestRunner(t, RunnerOptions{}, testKind("slow", wellAfter(time.Hour)), testKind("well", wellAfter(time.Millisecond)))
		got := r.RunOnce(t.Context(), Spec{Name: "x", Kind: "well"})
		if got.Verdict != OK || got.Start.IsZero() || len(got.RTT) != 1 {
			t.Errorf("got %+v", got)
		}
		begin := time.Now()
		got = r.RunOnce(t.Context(), Spec{Name: "x", Kind: "slow"})
		if got.Reason != Timeout || time.Since(begin) != 5*time.Second {
			t.Errorf("after %v got %+v", time.Since(begin), got)
		}
		if got = r.RunOnce(t.Context(), Spec{Name: "x", Kind: "absent"}); got.Reason != NotRun || !strings.Contains(got.Detail, "absent") {
			t.Errorf("got %+v", got)
		}
		if len(sink.samples) > 0 {
			t.Error("the sink heard of it")
		}
	})
}

// hangingSink does not return from the first sample of a check, as with a disk
// that hangs.
type hangingSink struct {
	recorder
	goOn chan struct{}
}

func (h *hangingSink) Sample(s Spec, r Result) {
	<-h.goOn
	h.recorder.Sample(s, r)
}

func TestSinkThatHangsFillsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, _ := NewRegistry(testKind("well", wellAfter(0)))
		sink := &hangingSink{goOn: make(chan struct{})}
		r := NewRunner(RunnerOptions{Registry: registry, Sink: sink})
		r.Sync([]Spec{{Name: "a", Kind: "well", Interval: time.Second}})
		pass(time.Hour)
		if lag := r.Lag(); lag.Starts == 0 || lag.P99 != 0 {
			t.Errorf("the starts were held up: %+v", lag)
		}
		close(sink.goOn)
		pass(time.Second)
		told, given := len(sink.of("a")), int(r.Status()[0].Counts.Skipped)
		if told < mostWaiting || told > mostWaiting+3 || told+given < 3599 || told+given > 3602 {
			t.Errorf("%d told, %d given up, of an hour", told, given)
		}
		r.Close()
	})
}

// gatheringSink counts what was not flushed.
type gatheringSink struct {
	mu       sync.Mutex
	gathered int
	flushes  int
}

func (g *gatheringSink) Sample(Spec, Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gathered++
}

// Edge takes its time, so that results wait behind it.
func (g *gatheringSink) Edge(Spec, Edge) { time.Sleep(2500 * time.Millisecond) }

func (g *gatheringSink) Flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gathered, g.flushes = 0, g.flushes+1
}

func TestWhatIsGatheredIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var good atomic.Bool
		registry, _ := NewRegistry(testKind("any", func(context.Context) Result {
			if good.Load() {
				return Result{Verdict: OK}
			}
			return Result{Verdict: Failed, Reason: Timeout}
		}))
		sink := &gatheringSink{}
		r := NewRunner(RunnerOptions{Registry: registry, Sink: sink})
		defer r.Close()
		r.Sync([]Spec{{Name: "a", Kind: "any", Interval: time.Second}})
		for i := range 240 {
			good.Store(i/40%2 == 0)
			pass(time.Second / 4)
			sink.mu.Lock()
			if sink.gathered > 0 {
				t.Errorf("at %d: %d samples are gathered still", i, sink.gathered)
			}
			sink.mu.Unlock()
		}
		if sink.flushes < 30 {
			t.Errorf("%d flushes", sink.flushes)
		}
	})
}

// statusSink asks for the status from within a Sink, as an agent does that
// writes a snapshot at each edge.
type statusSink struct{ r *Runner }

func (s *statusSink) Sample(Spec, Result) { s.r.Status() }
func (s *statusSink) Edge(Spec, Edge)     { s.r.Status() }

func TestSinkMayAskForStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, _ := NewRegistry(testKind("well", wellAfter(0)))
		sink := &statusSink{}
		r := NewRunner(RunnerOptions{Registry: registry, Sink: sink})
		sink.r = r
		defer r.Close()
		r.Sync([]Spec{{Name: "a", Kind: "well", Interval: time.Second}})
		pass(5 * time.Second)
		r.Sync(nil)
		if got := len(r.Status()); got != 0 {
			t.Errorf("%d checks left", got)
		}
	})
}
