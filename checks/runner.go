package checks

import (
	"context"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Sink takes what a Runner finds. For one check its methods are called one at a
// time, in order; for several checks they may be called at once. They must not
// block for long, and must not call Sync, Maintain or Close.
type Sink interface {
	// Sample takes the result of one run.
	Sample(Spec, Result)
	// Edge takes a change of state, or that it is held from now on, after the
	// sample that brought it about.
	Edge(Spec, Edge)
}

// Flusher is a Sink that gathers samples. Flush is called when no more are there
// just now: many checks start on one tick, and end soon after one another.
type Flusher interface{ Flush() }

// Blocker says whether what a check needs is down, and its name: a network, for
// one. Such a check is not run. It is asked before each run and holds up all
// others meanwhile: it looks at what is known, and nothing else.
type Blocker func(Spec) (name string, blocked bool)

// Excuse says what explains that a run has failed, by its name: such a result
// says nothing of the target, and counts as blocked. It is asked about each
// failed result.
type Excuse func(Spec, Result) (name string, blocked bool)

// RunnerOptions is what a Runner works with. The zero value has no kinds, and
// tells nobody.
type RunnerOptions struct {
	Gateway  string // its name; spreads the starts of a fleet
	Registry Registry
	Sink     Sink                 // nil: none
	Blocker  Blocker              // nil: nothing is ever blocked
	Excuse   Excuse               // nil: nothing is ever excused
	Metered  func(Spec) bool      // whether a check goes over a line that is paid for by use; nil: none does
	Way      func() Way           // what is known of the line, for paired checks; nil: nothing
	Asleep   func() time.Duration // how long this machine has slept, since whenever; nil: it never does
	Log      *slog.Logger         // nil: none

	now func() time.Time // tests set the clock; nil: time.Now
}

// Runner keeps the wanted checks running, each on its own: every interval at a
// phase that is a hash of gateway and check, so that starts are spread and stay
// the same over restarts. The first run comes a little earlier, within
// firstWithin.
type Runner struct {
	options RunnerOptions
	ctx     context.Context
	cancel  context.CancelFunc
	engine  *engine
	teller  *teller
	wg      sync.WaitGroup // of both, of runs, and of changes that are being told

	syncing sync.Mutex // held by Sync, Maintain and Close; before mu
	paused  bool
	closed  bool

	mu      sync.Mutex
	kinds   Registry
	workers []*worker // in the order of the last Sync; never written to, only replaced
	byName  map[string]*worker
}

// NewRunner returns a Runner without checks.
func NewRunner(o RunnerOptions) *Runner {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.Asleep == nil {
		o.Asleep = func() time.Duration { return 0 }
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Runner{options: o, kinds: o.Registry, ctx: ctx, cancel: cancel, engine: newEngine(o.now, o.Asleep), teller: newTeller(o.Sink)}
	r.wg.Go(func() { r.engine.loop(ctx) })
	r.wg.Go(func() { r.teller.loop(ctx) })
	return r
}

// Use gives the Runner other kinds. The next Sync starts those checks anew whose
// Kind has another Source than before.
func (r *Runner) Use(kinds Registry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds = kinds
}

func (r *Runner) registry() Registry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kinds
}

// Sync makes the set of running checks equal to specs. A check whose Spec is
// what it was goes on as if nothing had happened; a changed one starts anew,
// after its last run has ended. One that cannot be made gives results of
// verdict unknown and reason not_run that say why. Of two checks of one name
// the first counts. After Close, Sync does nothing.
func (r *Runner) Sync(specs []Spec) {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.closed {
		return
	}
	old := make(map[string]*worker)
	for _, w := range r.current() {
		old[w.spec.Name] = w
	}
	kinds, seen := r.registry(), make(map[string]bool, len(specs))
	workers, byName := make([]*worker, 0, len(specs)), make(map[string]*worker, len(specs))
	heirs := make(map[string]*worker)
	for _, s := range specs {
		if seen[s.Name] {
			r.options.Log.Warn("two checks have one name; the second is left out", "check", s.Name)
			continue
		}
		seen[s.Name] = true
		w := old[s.Name]
		if w == nil || !reflect.DeepEqual(w.spec, s.withDefaults()) || w.source != kinds.source(s.Kind) {
			w = newWorker(r, s, kinds)
			w.maintain(r.paused)
			heirs[s.Name] = w
		} else {
			delete(old, s.Name)
		}
		workers = append(workers, w)
	}
	for _, w := range workers {
		byName[w.spec.Name] = w
	}
	r.mu.Lock()
	r.workers, r.byName = workers, byName
	r.mu.Unlock()
	r.replace(old, heirs)
}

// replace retires workers, and starts those that take their place or are new.
func (r *Runner) replace(old, heirs map[string]*worker) {
	for name, w := range old {
		heir, changed := heirs[name]
		delete(heirs, name)
		if changed {
			w.retire("the check has changed", heir)
		} else {
			w.retire("the check is no longer in the config", nil)
		}
	}
	for _, w := range heirs {
		r.engine.add(w)
	}
}

// Maintain begins or ends maintenance: checks go on and their results are
// sampled, but their state is maintenance.
func (r *Runner) Maintain(on bool) {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	r.paused = on
	for _, w := range r.current() {
		w.maintain(on)
	}
}

// Status tells about all checks, in the order of the last Sync.
func (r *Runner) Status() []Status {
	return slices.AppendSeq(make([]Status, 0, len(r.current())), r.All())
}

// All is Status, one after another.
func (r *Runner) All() iter.Seq[Status] { return r.each((*worker).status) }

// States is All without Figures: for who asks of many again and again.
func (r *Runner) States() iter.Seq[Status] { return r.each((*worker).standing) }

func (r *Runner) each(tell func(*worker) Status) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for _, w := range r.current() {
			if !yield(tell(w)) {
				return
			}
		}
	}
}

// State tells the state of one check and the verdict of its last run; empty:
// there is none. It is cheap, for a Blocker.
func (r *Runner) State(name string) (State, Verdict) {
	r.mu.Lock()
	w := r.byName[name]
	r.mu.Unlock()
	if w == nil {
		return "", ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	state, _ := w.tracker.State()
	return state, w.last.Verdict
}

// RunOnce runs s now, once, in the same way as a running check; no Sink and no
// state hears of it. It must not be called after Close.
func (r *Runner) RunOnce(ctx context.Context, s Spec) Result {
	s = s.withDefaults()
	s.Target.OneShot = true
	check, err := r.registry().Make(s)
	if err != nil {
		return notRun(err)
	}
	if result, blocked := r.blocked(s); blocked {
		return result
	}
	if why := r.mayOnce(s); why != "" {
		return refusal(why, time.Now())
	}
	o := measure(r.withManners(ctx, &s), check, s.Target.Timeout, r.wg.Go)
	r.chargeRest(s, o.Result)
	return r.conclude(s, o)
}

// chargeRest counts what a run asked besides the question that mayOnce counted.
func (r *Runner) chargeRest(s Spec, asked Result) {
	asked.Sent = max(asked.Sent-1, 0)
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	r.engine.manners.charge(r.engine.manners.curb(s), r.metered(s), asked, r.engine.now())
}

// mayOnce asks manners for one more question, which it counts; empty: it may be.
func (r *Runner) mayOnce(s Spec) string {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	m := r.engine.manners
	c := m.curb(s)
	why, _ := m.may(c, r.metered(s), r.engine.now())
	if why == "" {
		m.charge(c, r.metered(s), Result{Sent: 1}, r.engine.now())
	}
	return why
}

func (r *Runner) metered(s Spec) bool {
	return r.options.Metered != nil && r.options.Metered(s)
}

// Close ends all checks and returns when the last run has ended. Their states
// are left as they are.
func (r *Runner) Close() error {
	r.syncing.Lock()
	r.closed = true
	r.syncing.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

func (r *Runner) current() []*worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.workers
}

// blocked asks the Blocker.
func (r *Runner) blocked(s Spec) (Result, bool) {
	if r.options.Blocker == nil {
		return Result{}, false
	}
	name, blocked := r.options.Blocker(s)
	if !blocked {
		return Result{}, false
	}
	return Result{Verdict: Unknown, Reason: Blocked, Detail: waitsPrefix + name, Start: time.Now()}, true
}

// excused asks the Excuse.
func (r *Runner) excused(s Spec, result Result) Result {
	if r.options.Excuse == nil || result.Verdict != Failed {
		return result
	}
	if name, blocked := r.options.Excuse(s, result); blocked {
		result.Verdict, result.Reason, result.Phase, result.Detail = Unknown, Blocked, NoPhase, waitsPrefix+name
	}
	return result
}

// waitsPrefix begins the Detail of a blocked result; what follows it is the
// name of what it waits for.
const waitsPrefix = "waits: "
