package checks

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// worker is one check of a Runner.
type worker struct {
	runner *Runner
	spec   Spec  // with its defaults
	check  Check // nil: could not be made
	err    error // why
	source any   // of its kind
	ctx    context.Context
	cancel context.CancelFunc

	// The engine's mu guards what follows.
	starts *schedule
	next   time.Time // of the next start
	at     time.Time // when the engine looks at it; not after next
	index  int       // in the engine's queue, from 1; 0: not in it
	flight *flight   // the run that has not ended; nil: none
	held   bool      // waits for the last run of a predecessor
	gone   bool      // starts no more runs
	heir   *worker   // what is started when it is gone for good
	curb   curb

	// The teller's mu guards what follows.
	waiting []outcome // not told yet; the teller's memory while there are any
	told    bool      // somebody tells of what waits, or is about to

	telling sync.Mutex // held while the Sink is told; before mu
	retired bool       // tell nobody any more

	skipped atomic.Uint64

	mu       sync.Mutex
	tracker  *Tracker
	last     Result
	recent   window
	counts   Counts
	panicked bool // and nothing good since: it is in the log already
}

func newWorker(r *Runner, s Spec, kinds Registry) *worker {
	w := &worker{runner: r, spec: s.withDefaults(), source: kinds.source(s.Kind), held: true}
	w.ctx, w.cancel = context.WithCancel(r.withManners(r.ctx, &w.spec))
	w.tracker = NewTracker(w.spec, time.Now())
	if w.check, w.err = kinds.Make(w.spec); w.err != nil {
		w.last = notRun(w.err)
		r.options.Log.Warn("a check cannot be run", "check", s.Name, "kind", s.Kind, "err", w.err)
	}
	return w
}

// take judges a result, counts it and tells the Sink of it. Where that changes
// the state it reports true: then the caller calls tellChange, and until it has,
// nobody else is told anything.
func (w *worker) take(o outcome) (Edge, bool) {
	w.telling.Lock()
	if w.retired {
		w.telling.Unlock()
		return Edge{}, false
	}
	w.logPanic(o)
	r := w.runner.conclude(w.spec, o)
	w.mu.Lock()
	w.last = r
	w.counts.add(r)
	w.recent.add(time.Now(), r)
	edge, changed := w.tracker.Observe(r)
	w.mu.Unlock()
	if sink := w.runner.options.Sink; sink != nil {
		sink.Sample(w.spec, r)
	}
	if !changed {
		w.telling.Unlock()
	}
	return edge, changed
}

// tellChange tells of the change that take returned.
func (w *worker) tellChange(e Edge) {
	defer w.telling.Unlock()
	w.tellEdge(e)
}

func (w *worker) tellEdge(e Edge) {
	log := w.runner.options.Log.With("check", w.spec.Name, "network", w.spec.Target.Network,
		"from", e.From, "to", e.To, "since", e.At, "reason", e.Reason, "detail", e.Detail)
	if e.Reason == Unstable {
		log.Info("a check is unstable; the worse state is held")
	} else {
		log.Info("a check changed its state")
	}
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
// now on. heir may be nil; it is started when the last run has ended.
func (w *worker) retire(why string, heir *worker) {
	w.telling.Lock()
	w.retired = true
	if state, _ := w.stateNow(); state != UnknownState {
		w.tellEdge(Edge{At: time.Now(), From: state, To: UnknownState, Reason: NotRun, Detail: why})
	}
	w.telling.Unlock()
	w.cancel()
	w.runner.engine.remove(w, heir)
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
	s := w.plainly()
	s.Figures = w.recent.figures(time.Now())
	return s
}

// standing is status without its figures.
func (w *worker) standing() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plainly()
}

// plainly is standing; the caller holds w.mu.
func (w *worker) plainly() Status {
	s := Status{Spec: w.spec, Last: w.last, Counts: w.counts, Err: w.err}
	s.Counts.Skipped = w.skipped.Load()
	s.State, s.Since = w.tracker.State()
	s.Unstable = w.tracker.Unstable()
	if w.last.Reason == Blocked {
		s.WaitsFor = strings.TrimPrefix(w.last.Detail, waitsPrefix)
	}
	return s
}
