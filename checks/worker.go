package checks

import (
	"context"
	"strings"
	"sync"
	"time"
)

// worker runs one check of a Runner.
type worker struct {
	runner *Runner
	given  Spec // as it came, to be compared
	spec   Spec
	check  Check // nil: could not be made
	err    error // why
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the last run has ended

	telling sync.Mutex // held while the Sink is told; before mu
	retired bool       // tell nobody any more

	mu       sync.Mutex
	tracker  *Tracker
	last     Result
	recent   window
	counts   Counts
	panicked bool // and nothing good since: it is in the log already
}

func newWorker(r *Runner, s Spec) *worker {
	w := &worker{runner: r, given: s, spec: s.withDefaults(), done: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(r.ctx)
	w.tracker = NewTracker(w.spec, time.Now())
	if w.check, w.err = r.options.Registry.Make(w.spec); w.err != nil {
		w.last = notRun(w.err)
		r.options.Log.Warn("a check cannot be run", "check", s.Name, "kind", s.Kind, "err", w.err)
	}
	return w
}

// loop starts runs until the worker is retired, and waits for the last.
func (w *worker) loop() {
	starts := newSchedule(w.runner.options.Gateway, w.spec, time.Now())
	timer := time.NewTimer(time.Until(starts.first()))
	defer timer.Stop()
	ended := make(chan struct{})
	close(ended)
	running := (<-chan struct{})(ended)
	for {
		select {
		case <-w.ctx.Done():
			<-running
			return
		case <-timer.C:
		}
		select {
		case <-running:
			running = w.run(ended)
		default:
			w.skip()
		}
		timer.Reset(time.Until(starts.after(time.Now())))
	}
}

// run measures once and tells. It returns a channel that is closed when the run
// has ended; ended is such a one.
func (w *worker) run(ended chan struct{}) <-chan struct{} {
	if w.err != nil {
		w.tell(notRun(w.err))
		return ended
	}
	if r, blocked := w.runner.blocked(w.spec); blocked {
		w.tell(r)
		return ended
	}
	o := measure(w.ctx, w.check, w.spec.Target.Timeout, w.runner.wg.Go)
	if w.ctx.Err() != nil {
		return o.done // cut off by us: it says nothing
	}
	w.logPanic(o)
	w.tell(judge(w.spec, o))
	return o.done
}

// skip leaves out a start because the run before has not ended.
func (w *worker) skip() {
	w.mu.Lock()
	w.counts.Skipped++
	w.mu.Unlock()
	w.tell(selfFault("not started: the run before has not ended"))
}

// tell records a result and passes it on.
func (w *worker) tell(r Result) {
	w.telling.Lock()
	defer w.telling.Unlock()
	if w.retired {
		return
	}
	w.mu.Lock()
	w.last = r
	w.counts.add(r)
	w.recent.add(time.Now(), r)
	edge, changed := w.tracker.Observe(r)
	w.mu.Unlock()
	if sink := w.runner.options.Sink; sink != nil {
		sink.Sample(w.spec, r)
	}
	if changed {
		w.tellEdge(edge)
	}
}

func (w *worker) tellEdge(e Edge) {
	w.runner.options.Log.Info("a check changed its state", "check", w.spec.Name, "network", w.spec.Target.Network,
		"from", e.From, "to", e.To, "since", e.At, "reason", e.Reason, "detail", e.Detail)
	if sink := w.runner.options.Sink; sink != nil {
		sink.Edge(w.spec, e)
	}
}

func (w *worker) logPanic(o outcome) {
	w.mu.Lock()
	first := o.stack != nil && !w.panicked
	w.panicked = o.stack != nil
	w.mu.Unlock()
	if first {
		w.runner.options.Log.Error("a check panicked", "check", w.spec.Name, "kind", w.spec.Kind, "err", o.Detail, "stack", string(o.stack))
	}
}

// retire ends the worker without waiting for it. What it knew is unknown from
// now on.
func (w *worker) retire(why string) {
	w.telling.Lock()
	w.retired = true
	if state, _ := w.stateNow(); state != UnknownState {
		w.tellEdge(Edge{At: time.Now(), From: state, To: UnknownState, Reason: NotRun, Detail: why})
	}
	w.telling.Unlock()
	w.cancel()
}

func (w *worker) maintain(on bool) {
	w.telling.Lock()
	defer w.telling.Unlock()
	w.mu.Lock()
	edge, changed := w.tracker.Maintain(on, time.Now())
	w.mu.Unlock()
	if changed {
		w.tellEdge(edge)
	}
}

func (w *worker) stateNow() (State, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tracker.State()
}

func (w *worker) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{Spec: w.spec, Last: w.last, Figures: w.recent.figures(time.Now()), Counts: w.counts, Err: w.err}
	s.State, s.Since = w.tracker.State()
	if w.last.Reason == Blocked {
		s.WaitsFor = strings.TrimPrefix(w.last.Detail, waitsPrefix)
	}
	return s
}
