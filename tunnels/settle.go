package tunnels

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// condition is how a network fares.
type condition struct {
	err, hint string // of the last step that failed; empty: none did
	since     time.Time
	tries     int       // in a row that failed
	notBefore time.Time // of the next try
	steps     int       // written since the start
}

// Back-off of a network after a step that failed.
const firstWait, longestWait = time.Second, time.Minute

// maxLooks is how often one call of settle looks. A plan needs one more look
// than it has waves (the port that the kernel chose makes the filter's second);
// what is still not there then, is not kept by the host or taken by somebody.
const maxLooks = 5

// settle looks, plans and applies until nothing is left to do or what is left
// has to wait. Its error is about the whole host; with force it also has those
// of networks, none of which waits then.
func (m *Manager) settle(ctx context.Context, force bool) error {
	m.pass.Lock()
	defer m.pass.Unlock()
	var failed error
	for n := range maxLooks {
		steps, err := m.look(ctx)
		if err != nil {
			return m.cannotLook(ctx, err)
		}
		m.canLook()
		if n == 0 && force {
			m.hurry()
		}
		due := m.due(steps)
		m.fine(steps)
		if len(due) == 0 {
			return failed
		}
		if n == maxLooks-1 {
			return errors.Join(failed, m.unsettled(due, force))
		}
		err = m.apply(ctx, due, force)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// look reads the host and plans. The caller holds m.pass.
func (m *Manager) look(ctx context.Context) ([]Step, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m.mu.Lock()
	spec, extent := m.healthyFirst(), m.extent
	m.mu.Unlock()
	facts, err := m.Host.Facts(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("reading facts of the host: %w", err)
	}
	have, err := m.Host.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at the host: %w", err)
	}
	facts.Ports = map[string]int{}
	for _, d := range have.Devices {
		facts.Ports[d.Name] = d.ListenPort
	}
	m.mu.Lock()
	facts.Dead = m.deadOf(have)
	m.mu.Unlock()
	want, problems := Want(spec, facts, m.names.endpoints)

	m.mu.Lock()
	defer m.mu.Unlock()
	m.remember(&have, want)
	m.logProblems(problems)
	m.seen, m.seenAt, m.problems = have, time.Now(), problems
	switch {
	case extent == Nothing:
		want = State{}
	case extent == Refusals && len(spec.Networks) == 0:
		want = refusals(have)
		want.Filters, have.Filters = nil, nil // as they are, also where somebody changed one
	case extent == Refusals:
		want = refusals(want)
	}
	return Plan(m.compared(want, have)), nil
}

// healthyFirst is the Spec with the networks that wait at its end: what several
// networks share then belongs to one that is worked on.
func (m *Manager) healthyFirst() Spec {
	networks := slices.Clone(m.spec.Networks)
	slices.SortStableFunc(networks, func(a, b Network) int { return m.waiting(a.Name) - m.waiting(b.Name) })
	return Spec{Networks: networks}
}

func (m *Manager) waiting(network string) int {
	if c := m.networks[network]; c != nil && c.err != "" {
		return 1
	}
	return 0
}

// due leaves out the steps of networks that wait.
func (m *Manager) due(steps []Step) []Step {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
		c := m.networks[s.Network]
		return c != nil && time.Now().Before(c.notBefore)
	})
}

// hurry makes no network wait.
func (m *Manager) hurry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.networks {
		c.notBefore = time.Time{}
	}
}

// fine ends the failure of networks for which nothing is left to do.
func (m *Manager) fine(steps []Step) {
	left := map[string]bool{}
	for _, s := range steps {
		left[s.Network] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.networks)) {
		if c := m.networks[name]; c.err != "" && !left[name] {
			*c = condition{steps: c.steps}
			m.Log.Info("network is as wanted again", "network", name)
		}
	}
}

// apply takes the steps in order. After one that fails, the rest of its network
// waits; with force the errors are returned as well.
func (m *Manager) apply(ctx context.Context, steps []Step, force bool) error {
	failed := map[string]bool{}
	var errs []error
	for _, s := range steps {
		if failed[s.Network] {
			continue
		}
		err := m.write(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed[s.Network] = true
			m.fail(s, err)
			errs = append(errs, err)
		}
	}
	if !force {
		return nil
	}
	return errors.Join(errs...)
}

func (m *Manager) write(ctx context.Context, s Step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.Host.Apply(ctx, s); err != nil {
		return fmt.Errorf("%s %s %s: %w", s.Op.Word(), s.Kind, s.Text, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrote(s)
	m.condition(s.Network).steps++
	m.Log.Info("host changed", "network", s.Network, "op", s.Op.Word(), "kind", string(s.Kind), "step", s.Text)
	return nil
}

func (m *Manager) condition(network string) *condition {
	c := m.networks[network]
	if c == nil {
		c = &condition{}
		m.networks[network] = c
	}
	return c
}

// fail makes a network wait, and says so if that is news.
func (m *Manager) fail(s Step, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.condition(s.Network)
	wait := min(firstWait<<min(c.tries, 10), longestWait)
	c.tries++
	c.notBefore = time.Now().Add(wait)
	if c.err == err.Error() {
		return
	}
	if c.err == "" {
		c.since = time.Now()
	}
	c.err, c.hint = err.Error(), hintOf(err)
	m.Log.Warn("network could not be changed; it is tried again", "network", s.Network, "err", err, "hint", c.hint)
}

// hintOf finds what an error says to do about it.
func hintOf(err error) string {
	type hinter interface {
		error
		Hint() string
	}
	if h, ok := errors.AsType[hinter](err); ok {
		return h.Hint()
	}
	return ""
}

// unsettled gives up, for now, on networks whose steps succeed and are still to
// be done.
func (m *Manager) unsettled(steps []Step, force bool) error {
	var errs []error
	done := map[string]bool{}
	for _, s := range steps {
		if !done[s.Network] {
			done[s.Network] = true
			err := fmt.Errorf("%s %s %s: written, and at the next look not there", s.Op.Word(), s.Kind, s.Text)
			m.fail(s, err)
			errs = append(errs, err)
		}
	}
	if !force {
		return nil
	}
	return errors.Join(errs...)
}

func (m *Manager) cannotLook(ctx context.Context, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil && m.lookErr != err.Error() {
		m.lookErr = err.Error()
		m.Log.Error("host cannot be read; it is tried again", "err", err, "hint", hintOf(err))
	}
	return err
}

func (m *Manager) canLook() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lookErr != "" {
		m.lookErr = ""
		m.Log.Info("host can be read again")
	}
}

// logProblems logs those that were not there at the last look.
func (m *Manager) logProblems(problems []Problem) {
	for _, p := range problems {
		if !slices.Contains(m.problems, p) {
			m.Log.Warn("not all of the config can be had here", "network", p.Network, "problem", p.Text, "hint", p.Hint)
		}
	}
}
