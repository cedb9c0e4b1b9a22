package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// typeExec is the Type of an offer whose program is run anew for each run, and
// speaks by its exit status and its output, as monitoring plugins do.
const typeExec = "exec"

// outputMost is how much of its output is read; one that says more is ended.
const outputMost = 64 << 10 // bytes

// execKind makes a kind of an offer of type exec. Its options are what the offer
// lets a config choose from.
func execKind(o Offer, options Options) (checks.Kind, error) {
	schema := checks.Schema{}
	for name, values := range o.Choices {
		schema[name] = checks.Option{Type: "string", Doc: "one of those that the gateway's owner offers", Default: values[0], Enum: values}
	}
	done := new(runs)
	k := checks.Kind{Source: done, Name: o.Kind, Doc: "runs " + o.Path + " and takes its exit status and figures", Schema: schema,
		Standing: func() checks.Standing { return execStanding(o, options, done) },
		New: func(t checks.Target) (checks.Check, error) {
			what := order{Kind: o.Kind, Target: t.Address, Choices: map[string]string{}}
			for name := range o.Choices {
				what.Choices[name] = t.StringOption(name)
			}
			if _, err := o.arguments(what); err != nil {
				return nil, err
			}
			return &execCheck{offer: o, options: options, order: what, runs: done}, nil
		}}
	f, err := openProgram(o, options.Owner)
	if err == nil {
		f.Close()
	}
	return k, err
}

// execStanding looks whether the program is there, and is what was offered.
func execStanding(o Offer, options Options, done *runs) checks.Standing {
	s := checks.Standing{Path: o.Path, Weaker: options.weaker()}
	s.State, s.Detail = done.state(time.Now())
	f, err := openProgram(o, options.Owner)
	if err != nil {
		s.State, s.Detail = checks.ProgramAbsent, err.Error()
		return s
	}
	f.Close()
	return s
}

// runs are those of all checks of a kind.
type runs struct {
	mu      sync.Mutex
	now     int // that have not ended
	last    checks.Verdict
	lastEnd time.Time
}

func (r *runs) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now++
}

func (r *runs) end(at time.Time, v checks.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
	r.last, r.lastEnd = v, at
}

// state is whether one runs now, and what the last that ended came to.
func (r *runs) state(at time.Time) (state, detail string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state = checks.ProgramIdle
	if r.now > 0 {
		state = checks.ProgramRunning
	}
	if r.last != "" {
		detail = fmt.Sprintf("last run %s, %v ago", r.last, at.Sub(r.lastEnd).Round(time.Second))
	}
	return state, detail
}

// execCheck runs a program once for each run.
type execCheck struct {
	offer   Offer
	options Options
	order   order
	runs    *runs
}

// Run implements checks.Check.
func (c *execCheck) Run(ctx context.Context) checks.Result {
	c.runs.begin()
	r := c.run(ctx)
	c.runs.end(time.Now(), r.Verdict)
	return r
}

func (c *execCheck) run(ctx context.Context) checks.Result {
	begin := time.Now()
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return notRun(begin, "broken off")
	}
	p, err := prepare(c.offer, c.options, c.order)
	if err != nil {
		return selfFault(begin, err.Error())
	}
	// The kernel ends a child with the thread that started it: that thread waits.
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // for ever: it goes with what it shed
		err := shed()
		if err == nil {
			err = p.Start(ctx)
		}
		started <- err
		if err == nil {
			<-p.ended
		}
		close(done)
	}()
	if err := <-started; err != nil {
		p.closeAll()
		if file, ok := errors.AsType[*FileError](err); ok {
			return notRun(begin, file.Error())
		}
		return selfFault(begin, err.Error())
	}
	said := make(chan []byte, 1)
	go func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(p.stderr, outputMost))
	}()
	go func() {
		text, _ := io.ReadAll(io.LimitReader(p.stdout, outputMost+1))
		if len(text) > outputMost {
			p.fail("it floods its output")
		}
		said <- text
	}()
	over := false
	select {
	case <-p.ended:
	case <-ctx.Done():
		over = true
		_ = p.Kill(ctx)
	}
	<-done
	return c.result(ctx, p, <-said, begin, over)
}

// result says what the end of a run means.
func (c *execCheck) result(ctx context.Context, p *program, text []byte, begin time.Time, over bool) checks.Result {
	took := time.Since(begin)
	r := checks.Result{Start: begin, Steps: []checks.Step{{Name: "run " + c.offer.Path, Took: took, Detail: p.how()}}}
	switch {
	case over && errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Verdict, r.Reason, r.Phase = checks.Failed, checks.Timeout, checks.PhaseResponse
		r.Detail = "the program did not end in time, and was ended"
		return r
	case over:
		return notRun(begin, "broken off")
	case p.failed != "":
		return selfFault(begin, c.offer.Path+": "+p.failed)
	}
	r.Detail, r.Values = parseOutput(text)
	switch p.code {
	case 0:
		r.Verdict = checks.OK
	case 1:
		r.Verdict, r.Reason, r.Phase = checks.Degraded, checks.Assertion, checks.PhaseAssert
	case 2:
		r.Verdict, r.Reason, r.Phase = checks.Failed, checks.Assertion, checks.PhaseAssert
	case 3:
		r.Verdict, r.Reason = checks.Unknown, checks.SelfFault
	default:
		r.Verdict, r.Reason = checks.Unknown, checks.SelfFault
		r.Detail = fmt.Sprintf("%s: %s, which is none of 0 to 3", c.offer.Path, p.how())
	}
	if r.Detail == "" && r.Verdict != checks.OK {
		r.Detail = "the program said nothing"
	}
	return r
}

// arguments are those that a program gets for an order: what the offer says,
// with {name} replaced by the choice of that option and {target} by the target.
// Only what the offer allows is put in.
func (o Offer) arguments(what order) ([]string, error) {
	if o.Type != typeExec {
		return o.Args, nil
	}
	if len(o.Targets) > 0 && !slices.Contains(o.Targets, what.Target) {
		return nil, fmt.Errorf("target %q is none of those that %s allows: %s", what.Target, o.File, strings.Join(o.Targets, ", "))
	}
	if len(o.Targets) == 0 && what.Target != "" {
		return nil, fmt.Errorf("target %q: %s allows none, so it must be left out", what.Target, o.File)
	}
	pairs := []string{"{target}", what.Target}
	for _, name := range slices.Sorted(maps.Keys(o.Choices)) {
		if !slices.Contains(o.Choices[name], what.Choices[name]) {
			return nil, &checks.OptionError{Option: name, Err: fmt.Errorf("%q is none of those that %s allows", what.Choices[name], o.File)}
		}
		pairs = append(pairs, "{"+name+"}", what.Choices[name])
	}
	all := strings.NewReplacer(pairs...)
	args := make([]string, len(o.Args))
	for i, a := range o.Args {
		args[i] = all.Replace(a)
	}
	return args, nil
}

// parseOutput takes the output of a monitoring plugin apart: a line for people
// and figures behind a bar, at the end of the first line and of the last part.
func parseOutput(text []byte) (detail string, values []checks.Value) {
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	line, perf, _ := strings.Cut(string(first), "|")
	if _, more, ok := strings.Cut(string(rest), "|"); ok {
		perf += " " + more
	}
	return strings.TrimSpace(clean(line)), parsePerfdata(clean(perf))
}
