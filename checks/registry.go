package checks

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Kind makes checks of one sort. Its zero value is not valid.
type Kind struct {
	Name   string // "tcp"
	Doc    string // one line
	Schema Schema // of [check.options]
	// Least is the shortest interval of its checks; 0: any.
	Least time.Duration
	// New makes a check, or says what is wrong with the target or options:
	// an *OptionError where one option is at fault. It opens nothing, for a
	// check has no end of its own; it is also called to validate. It gets
	// options as Schema.Resolve returns them, unless Late: call Make, not New.
	New func(Target) (Check, error)
	// Late says that the kind is offered here, but by a program that is not
	// there yet: the schema is not known, so options reach New as they were
	// given, and a run says what is wrong with them.
	Late bool
	// NeedsAgreement says that checks of the kind touch what somebody must have
	// agreed to, as a clinical system. A gateway's owner writes the agreement into
	// the offer of a plugin; without it the checks are not run.
	NeedsAgreement bool
	// Source tells kinds of one name apart of which one came after the other, as a
	// changed offer of a program does; it can be compared. Nil: it is built in.
	Source any
	// Standing tells how the program behind the kind is; nil: it is built in.
	Standing func() Standing
	// Close ends what the kind keeps running for its checks; nil: nothing.
	Close func() error
}

// Standing is how the program behind a kind is.
type Standing struct {
	State  string // "starting", "running", "idle", "waiting" to be started again, "absent", "quarantined"
	Detail string // why it does not run, or of an idle one what its last run came to; empty: nothing to tell
	Path   string // of the program
	Weaker string // what does not keep it in bounds on this host; empty: all does
}

// QuarantinePrefix begins the Detail of checks whose program is quarantined.
const QuarantinePrefix = "quarantined "

// States of a program.
const (
	ProgramStarting    = "starting"
	ProgramRunning     = "running"
	ProgramIdle        = "idle"        // it is started for each run, and there is none just now
	ProgramWaiting     = "waiting"     // it ended, and is started again soon
	ProgramAbsent      = "absent"      // missing, or not as its offer says
	ProgramQuarantined = "quarantined" // misbehaved too often: not started again by itself
)

// Make validates the options, fills in defaults and makes a check.
func (k Kind) Make(t Target) (Check, error) {
	if k.Late {
		return k.New(t)
	}
	options, err := k.Schema.Resolve(t.Options)
	if err != nil {
		return nil, err
	}
	t.Options = options
	return k.New(t)
}

// ErrNoKind is wrapped by errors about a kind that a Registry does not have.
var ErrNoKind = errors.New("no such kind here")

// noKind is about a kind that a Registry does not have.
type noKind struct{ kind, meant string }

func (e *noKind) Error() string { return fmt.Sprintf("kind %q: %v", e.kind, ErrNoKind) }
func (e *noKind) Unwrap() error { return ErrNoKind }

// Hint implements the hint of an error.
func (e *noKind) Hint() string {
	if e.meant != "" {
		return e.meant
	}
	return "ginnel check list has them; programs are offered in /etc/ginnel/checks.d"
}

// IntervalError says that a check is to run more often than its kind may.
type IntervalError struct {
	Interval time.Duration
	Kind     string
	Least    time.Duration
}

func (e *IntervalError) Error() string {
	return fmt.Sprintf("an interval of %v is too short for a %s check, which may run once in %v", e.Interval, e.Kind, e.Least)
}

// Registry is the set of kinds that a program has. It is a value: copies are
// cheap and nothing changes one. The zero Registry has no kinds.
type Registry struct {
	kinds map[string]Kind // never written after it was made
}

// NewRegistry refuses two kinds of one name, and a kind that cannot make checks.
func NewRegistry(kinds ...Kind) (Registry, error) {
	return Registry{}.With(kinds...)
}

// With returns r and some more kinds, as a new Registry.
func (r Registry) With(kinds ...Kind) (Registry, error) {
	all := make(map[string]Kind, len(r.kinds)+len(kinds))
	maps.Copy(all, r.kinds)
	for _, k := range kinds {
		if k.Name == "" || k.New == nil {
			return r, fmt.Errorf("kind %q: a kind needs a name and a way to make checks", k.Name)
		}
		if _, ok := all[k.Name]; ok {
			return r, fmt.Errorf("kind %q: there is one of that name already", k.Name)
		}
		if err := k.Schema.check(); err != nil {
			return r, fmt.Errorf("kind %q: %w", k.Name, err)
		}
		all[k.Name] = k
	}
	return Registry{all}, nil
}

// Lookup finds a kind by its name.
func (r Registry) Lookup(name string) (Kind, bool) {
	k, ok := r.kinds[name]
	return k, ok
}

// Kinds lists all kinds, sorted by name.
func (r Registry) Kinds() []Kind {
	names := slices.Sorted(maps.Keys(r.kinds))
	kinds := make([]Kind, len(names))
	for i, n := range names {
		kinds[i] = r.kinds[n]
	}
	return kinds
}

// Make makes the check that s wants. The error wraps ErrNoKind, or one or more
// *OptionError, or is an *IntervalError, or says what the kind holds against the target.
func (r Registry) Make(s Spec) (Check, error) {
	k, ok := r.kinds[s.Kind]
	if !ok {
		return nil, &noKind{s.Kind, nearest(s.Kind, slices.Sorted(maps.Keys(r.kinds)))}
	}
	s = s.withDefaults()
	if s.Interval < k.Least {
		return nil, &IntervalError{s.Interval, k.Name, k.Least}
	}
	c, err := k.Make(s.Target)
	if s.Beside == "" || err != nil {
		return c, err
	}
	t := s.Target
	t.Address, t.Network, t.Source = s.Beside, "", nil
	twin, err := k.Make(t)
	if err != nil {
		return nil, fmt.Errorf("beside: %w", err)
	}
	return pairOf(c, twin), nil
}

// Validate says what would keep s from running; nil: nothing.
func (r Registry) Validate(s Spec) error {
	_, err := r.Make(s)
	return err
}

// source is that of a kind; nil as well where there is none of that name.
func (r Registry) source(kind string) any { return r.kinds[kind].Source }

// Close ends what the kinds keep running.
func (r Registry) Close() error { return r.CloseBut(Registry{}) }

// CloseBut is Close for the kinds that later does not have as well.
func (r Registry) CloseBut(later Registry) error {
	var errs []error
	for _, k := range r.Kinds() {
		if k.Close == nil || k.Source != nil && k.Source == later.source(k.Name) {
			continue
		}
		if err := k.Close(); err != nil {
			errs = append(errs, fmt.Errorf("kind %q: %w", k.Name, err))
		}
	}
	return errors.Join(errs...)
}
