package tunnels

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

// together is how long a pass waits for the networks that it works on. One that
// takes longer goes on by itself, and holds up neither looks nor other networks.
const together = 500 * time.Millisecond

// take has the steps taken, each network's by a worker of its own, and in stages:
// what one network gives away goes when it is refused by the other. With force it
// waits for all to end, and returns their errors.
func (m *Manager) take(ctx context.Context, steps []planned, force bool) error {
	var failed error
	for i, own := range staged(steps) {
		if i > 0 {
			own = m.due(own)
		}
		failed = errors.Join(failed, m.work(ctx, own, force))
	}
	return failed
}

// staged parts steps into those that others wait for, as for a port that is handed
// over, those that add, the sysctls of no network, which are put back while the
// filters stand, and those that take away. Empty stages are left out.
func staged(steps []planned) [][]planned {
	var stages [4][]planned
	for own := range runs(steps, (*planned).stage) {
		stages[own[0].stage()] = joined(stages[own[0].stage()], own)
	}
	return slices.DeleteFunc(stages[:], func(own []planned) bool { return len(own) == 0 })
}

// stage is which of staged a step is in.
func (s *planned) stage() int {
	switch {
	case s.round == first:
		return 0
	case s.round == additions:
		return 1
	case s.Network == "" && s.Kind == SettingKind:
		return 2
	}
	return 3
}

// byNetwork goes through the networks that have steps, with these in order.
func byNetwork(steps []planned) iter.Seq2[string, []planned] {
	own := map[string][]planned{}
	var names []string
	for run := range runs(steps, (*planned).network) {
		name := run[0].Network
		if own[name] == nil {
			names = append(names, name)
		}
		own[name] = joined(own[name], run)
	}
	return func(yield func(string, []planned) bool) {
		for _, name := range names {
			if !yield(name, own[name]) {
				return
			}
		}
	}
}

func (s *planned) network() string { return s.Network }

// runs goes through the longest parts of a list that have one key. Steps are big,
// may be many, and mostly stand together: so none is copied.
func runs[K comparable](steps []planned, key func(*planned) K) iter.Seq[[]planned] {
	return func(yield func([]planned) bool) {
		for i := 0; i < len(steps); {
			j := i + 1
			for j < len(steps) && key(&steps[j]) == key(&steps[i]) {
				j++
			}
			if !yield(steps[i:j:j]) {
				return
			}
			i = j
		}
	}
}

// joined is both, the first of which may be empty.
func joined(a, b []planned) []planned {
	if len(a) == 0 {
		return b
	}
	return append(a, b...)
}

// work starts a worker for each network, and waits for them: to the end with
// force, else for a short while. The caller is in a pass.
func (m *Manager) work(ctx context.Context, steps []planned, force bool) error {
	m.mu.Lock()
	order := m.planned
	m.mu.Unlock()
	var late atomic.Bool
	var errs []*error
	ended := make(chan struct{}, len(steps))
	for network, own := range byNetwork(steps) {
		m.setBusy(network, true)
		err := new(error)
		errs = append(errs, err)
		m.workers.Go(func() {
			*err = m.apply(ctx, order, own, force)
			m.setBusy(network, false)
			ended <- struct{}{}
			if late.Load() {
				m.Wake() // nobody has looked since
			}
		})
	}
	var enough <-chan time.Time
	if !force {
		enough = time.After(together)
	}
	for range errs {
		select {
		case <-ended:
		case <-enough:
			late.Store(true)
			return nil
		}
	}
	if !force {
		return nil
	}
	var failed error
	for _, err := range errs {
		failed = errors.Join(failed, *err)
	}
	return failed
}

// apply takes the steps of one network in order, up to one that fails, or until
// something else is wanted than at the order that they follow from. With force
// somebody waits for the error, and tries again himself.
func (m *Manager) apply(ctx context.Context, order int, steps []planned, force bool) error {
	alone := 0 // so many are taken one by one: at once they failed
	for len(steps) > 0 {
		if m.outdated(order) {
			return nil
		}
		if n := crowd(steps); alone == 0 && n > 1 {
			if m.addCrowd(ctx, steps[:n]) {
				steps = steps[n:]
				continue
			}
			alone = n
		}
		alone = max(alone-1, 0)
		s := steps[0]
		steps = steps[1:]
		err := m.write(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			m.fail(s.Step, err, !force)
			return err
		}
	}
	return nil
}

// maxCrowd is how many are added at once: a data plane takes some 0.1 s for so many
// peers, and answers nobody meanwhile.
const maxCrowd = 1024

// crowd counts the steps that begin a list and add peers to one device, or routes
// that all refuse or all carry, and do nothing else.
func crowd(steps []planned) int {
	for i, s := range steps {
		if i == maxCrowd || s.Op != Add || s.Kind != steps[0].Kind || len(s.Before)+len(s.After) > 0 {
			return i
		}
		switch {
		case s.Kind == PeerKind && s.Device.Name == steps[0].Device.Name:
		case s.Kind == RouteKind && s.Route.Unreachable == steps[0].Route.Unreachable:
		default:
			return i
		}
	}
	return len(steps)
}

// addCrowd takes such steps at once. It is false where the host does not, or one
// of them failed: taken one by one they tell which.
func (m *Manager) addCrowd(ctx context.Context, steps []planned) bool {
	h, ok := m.Host.(Crowded)
	if !ok {
		return false
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	if steps[0].Kind == PeerKind {
		peers := make([]Peer, 0, len(steps))
		for _, s := range steps {
			peers = append(peers, *s.Peer)
		}
		err = h.AddPeers(within, steps[0].Device.Name, peers)
	} else {
		routes := make([]Route, 0, len(steps))
		for _, s := range steps {
			routes = append(routes, *s.Route)
		}
		err = h.AddRoutes(within, routes)
	}
	if err != nil {
		return false
	}
	for _, s := range steps {
		m.mu.Lock()
		m.wrote(s.Step)
		m.mu.Unlock()
		m.took(s)
	}
	return true
}

func (m *Manager) outdated(order int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.orders != order
}

func (m *Manager) setBusy(network string, busy bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if busy {
		m.busy[network] = true
	} else {
		delete(m.busy, network)
	}
}

// atWork tells whether any network is busy.
func (m *Manager) atWork() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.busy) > 0
}

// finish waits for the workers.
func (m *Manager) finish() {
	m.pass <- struct{}{}
	defer func() { <-m.pass }()
	m.workers.Wait()
}
