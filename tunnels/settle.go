package tunnels

import (
	"cmp"
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
	kind      Kind   // of that step
	what      string // its text
	since     time.Time
	tries     int       // in a row that failed
	notBefore time.Time // of the next try
	steps     int       // written since the start
	waves     int       // plans in a row that left something to do
}

// Back-off of a network after a step that failed. The first failure is tried again
// at once: what died between the look and the step is seen to be dead at the next.
const firstWait, longestWait = time.Second, time.Minute

// maxWaves is how many plans of a network may follow each other. One needs more
// than one where the first makes what the second is about (the port that the
// kernel chose is in the filter); what is still not there then, is not kept by
// the host or taken by somebody.
const maxWaves = 5

// maxLooks is how often one call of settle looks before it lets others look.
const maxLooks = 2 * maxWaves

// settle looks, plans and applies until nothing is left to do or what is left
// has to wait. Its error is about the whole host; with force it also has those
// of networks, none of which waits then.
func (m *Manager) settle(ctx context.Context, force bool) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if force {
		m.workers.Wait()
		m.hurry()
	}
	var failed error
	m.idle.Store(true)
	for range maxLooks {
		steps, err := m.look(ctx)
		if err != nil {
			return m.cannotLook(ctx, err)
		}
		m.canLook()
		due := m.due(steps)
		slowly := !force && m.onlyDisputed(due)
		if !slowly {
			m.idle.Store(false)
		}
		m.fine(steps)
		due, err = m.unsettled(due)
		if !force {
			err = nil
		}
		failed = errors.Join(failed, err)
		if len(due) == 0 {
			return failed
		}
		err = m.take(ctx, due, force)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, err)
		if slowly {
			return failed // an event or the poll will tell what came of it
		}
	}
	poke(m.woken)
	return failed
}

// look reads the host and plans. The caller is in a pass.
func (m *Manager) look(ctx context.Context) ([]planned, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m.mu.Lock()
	m.looks++
	m.before = maps.Clone(m.busy)
	spec, extent, order := m.healthyFirst(), m.extent, m.orders
	m.mu.Unlock()
	facts, err := m.Host.Facts(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("reading facts of the host: %w", err)
	}
	have, err := m.Host.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at the host: %w", err)
	}
	m.mu.Lock()
	facts.Ports = m.ports(have)
	facts.Dead = m.deadOf(have)
	m.mu.Unlock()
	want, problems := Want(spec, facts, m.names.endpoints)

	m.mu.Lock()
	defer m.mu.Unlock()
	m.remember(&have, want)
	m.countRefused(have)
	m.logProblems(problems)
	m.seen, m.seenAt, m.problems = have, time.Now(), problems
	m.shown = map[string][]PeerStatus{}
	switch {
	case extent == Nothing:
		want = State{}
	case extent == Refusals && len(spec.Networks) == 0:
		want = refusals(have)
		want.Filters, have.Filters = nil, nil // as they are, also where somebody changed one
	case extent == Refusals:
		want = refusals(want)
	}
	m.planned = order
	want, have = m.compared(want, have)
	steps := plan(want, have)
	m.repairs(steps, want, order)
	m.atPeace()
	return steps, nil
}

// ports is by device. One that does not answer has the port that it had: its
// filter stays as it is meanwhile. The caller holds m.mu.
func (m *Manager) ports(have State) map[string]int {
	ports := map[string]int{}
	for _, d := range m.seen.Devices {
		ports[d.Name] = d.ListenPort
	}
	for _, d := range have.Devices {
		ports[d.Name] = cmp.Or(d.ListenPort, ports[d.Name])
	}
	return ports
}

// healthyFirst is the Spec with the networks that wait or are busy at its end:
// what several networks share then belongs to one that can be worked on.
func (m *Manager) healthyFirst() Spec {
	networks := slices.Clone(m.spec.Networks)
	slices.SortStableFunc(networks, func(a, b Network) int { return m.waiting(a.Name) - m.waiting(b.Name) })
	return Spec{Networks: networks}
}

func (m *Manager) waiting(network string) int {
	if c := m.networks[network]; m.busy[network] || c != nil && c.err != "" {
		return 1
	}
	return 0
}

// due leaves out the steps of networks that wait, or were at work when the host
// was looked at.
func (m *Manager) due(steps []planned) []planned {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(steps), func(s planned) bool {
		c := m.networks[s.Network]
		return s.held || m.before[s.Network] || m.busy[s.Network] || c != nil && time.Now().Before(c.notBefore)
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
func (m *Manager) fine(steps []planned) {
	left := map[string]bool{}
	for _, s := range steps {
		if !s.held {
			left[s.Network] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.networks)) {
		c := m.networks[name]
		if left[name] || m.before[name] {
			continue
		}
		failed := c.err != ""
		*c = condition{steps: c.steps}
		if failed {
			m.Log.Info("network is as wanted again", "network", name)
		}
	}
}

// write takes a step with all that belongs to it.
func (m *Manager) write(ctx context.Context, s planned) error {
	for _, w := range s.Writes() {
		if err := m.writeOne(ctx, w); err != nil {
			return err
		}
	}
	m.took(s)
	return nil
}

// took notes that a step was taken.
func (m *Manager) took(s planned) {
	m.mu.Lock()
	m.condition(s.Network).steps++
	m.mu.Unlock()
	if s.repair {
		m.putBack(s.Step)
	} else {
		m.Log.Info("host changed", "network", s.Network, "op", s.Op.Word(), "kind", string(s.Kind), "step", s.Text)
	}
}

func (m *Manager) writeOne(ctx context.Context, s Step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := m.Host.Apply(ctx, s); err != nil {
		return fmt.Errorf("%s %s %s: %w", s.Op.Word(), s.Kind, s.Text, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrote(s)
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

// fail makes a network wait, but for the first time where it may try again at
// once, and says so if that is news.
func (m *Manager) fail(s Step, err error, atOnce bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.condition(s.Network)
	wait := min(firstWait<<min(c.tries, 10), longestWait)
	if atOnce && c.tries == 0 {
		wait = 0
	}
	c.tries++
	c.waves = 0
	c.notBefore = time.Now().Add(wait)
	c.kind, c.what = s.Kind, s.Text
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
// be done, and returns the steps of the others.
func (m *Manager) unsettled(steps []planned) ([]planned, error) {
	var errs []error
	gaveUp := map[string]bool{}
	for network, own := range byNetwork(steps) {
		if i := slices.IndexFunc(own, func(s planned) bool { return !s.repair }); i < 0 {
			continue // see fights
		} else {
			own = own[i:]
		}
		m.mu.Lock()
		c := m.condition(network)
		c.waves++
		waves := c.waves
		m.mu.Unlock()
		if waves < maxWaves {
			continue
		}
		err := fmt.Errorf("%s %s %s: written, and at the next look not there", own[0].Op.Word(), own[0].Kind, own[0].Text)
		m.fail(own[0].Step, err, false)
		errs = append(errs, err)
		gaveUp[network] = true
	}
	return slices.DeleteFunc(steps, func(s planned) bool { return gaveUp[s.Network] }), errors.Join(errs...)
}

func (m *Manager) cannotLook(ctx context.Context, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		m.fault = err
	}
	if ctx.Err() == nil && m.lookErr != err.Error() {
		m.lookErr = err.Error()
		m.Log.Error("host cannot be read; it is tried again", "err", err, "hint", hintOf(err))
	}
	return err
}

func (m *Manager) canLook() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = nil
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
