package tunnels

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// Manager keeps a host as a Spec wants it: it looks, plans, takes the steps and
// looks again until the plan is empty. Events only wake it, so a lost or doubled
// one does no harm. A network whose step fails waits and tries again by itself;
// the others go on.
//
// Set the exported fields before the first call and leave them. All methods may
// be called at any time, with Run running or not.
type Manager struct {
	Host     Host
	Resolver Resolver     // nil: only endpoints that are addresses are known
	Cache    Cache        // nil: names are asked anew after each start
	Log      *slog.Logger // nil: nothing is logged

	once  sync.Once
	woken chan struct{} // something may have changed
	asked chan struct{} // what is wanted has changed: at once
	names *names

	gap  time.Duration // before the next look that an event asks for; of Run
	idle atomic.Bool   // the last pass found nothing to do, or nothing in a hurry

	pass    chan struct{}  // full from a look to the last step that follows from it, but for those of busy networks
	workers sync.WaitGroup // added to while pass is full

	mu        sync.Mutex // guards what follows
	spec      Spec
	extent    Extent
	seen      State
	seenAt    time.Time
	shown     map[string][]PeerStatus // of what was seen, by device, once it was asked for
	problems  []Problem               // of the last look, so that each is logged once
	networks  map[string]*condition
	busy      map[string]bool // networks whose worker is at work
	before    map[string]bool // those that were when the last look began
	looks     int             // begun
	orders    int             // calls of Set and Withdraw
	planned   int             // orders as of the last plan
	lookErr   string
	fault     error // as lookErr
	sent      map[peerAt]sent
	fights    fights
	refused   map[string]*tally // by table
	last      lastPlan
	heldUntil time.Time       // the first of what the last plan held; zero: it held nothing
	dead      map[string]sign // devices that lead nowhere, as we were told
	tells     bool            // the host has told a preshared key: what it tells counts
}

// Extent is how much of a Spec is to be on the host.
type Extent byte

const (
	All      Extent = iota // everything
	Refusals               // no tunnels; their traffic is refused: `ginnel down`
	Nothing                // as if we had never been there: `ginnel cleanup`
)

// peerAt is one peer of one device.
type peerAt struct {
	device string
	peer   key.Public
}

func (m *Manager) init() {
	m.once.Do(func() {
		m.pass = make(chan struct{}, 1)
		m.woken, m.asked = make(chan struct{}, 1), make(chan struct{}, 1)
		if m.Log == nil {
			m.Log = slog.New(slog.DiscardHandler)
		}
		m.names = newNames(m.Resolver, m.Cache, m.Log, func() { poke(m.asked) })
		m.busy, m.shown, m.gap = map[string]bool{}, map[string][]PeerStatus{}, gap
		m.fights, m.refused = fights{}, map[string]*tally{}
		m.networks, m.sent, m.dead = map[string]*condition{}, map[peerAt]sent{}, map[string]sign{}
	})
}

// Set makes spec the wanted one. It ends a Withdraw, and networks that wait
// after a failure try again at once.
func (m *Manager) Set(spec Spec) {
	m.init()
	m.mu.Lock()
	m.spec, m.extent, m.shown = spec, All, map[string][]PeerStatus{}
	m.orders++
	m.fights.retry()
	m.forgetDead()
	for _, c := range m.networks {
		c.tries, c.notBefore = 0, time.Time{}
	}
	m.mu.Unlock()
	poke(m.asked)
}

// Wake makes Run look: something on the host may have changed.
func (m *Manager) Wake() {
	m.init()
	poke(m.woken)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already, and will see this too
	}
}

const (
	// pollSmall and pollLarge are how often the host is looked at without
	// an event: WireGuard's own state has none, and events get lost. With the
	// pause before it and the look itself, pollSmall stays below 5 s.
	pollSmall, pollLarge, largeFrom = 4 * time.Second, 30 * time.Second, 100
	// gap is the least time between two looks that events ask for. It grows
	// while events go on and there is nothing to do, as when somebody fights
	// over what is put back slowly by now.
	gap, longestGap = 200 * time.Millisecond, 1200 * time.Millisecond
	// firstNames is how long the first pass waits where no name was ever
	// answered. A packet that enters a tunnel before its endpoint is known
	// costs a handshake try, and the next is 5 s later (REKEY_TIMEOUT of the
	// WireGuard paper, section 6.1).
	firstNames = time.Second
	// patience is how long one look or one step may take.
	patience = 20 * time.Second
	// readyIn is how long the first pass may take: a network that is still
	// at work then is not waited for.
	readyIn = 5 * time.Second
)

// Run keeps the host as wanted until ctx is done, and then leaves everything as
// it is. It calls ready after the first pass over all networks, also if some of
// them failed or take long: a site is not held up by one of its networks.
func (m *Manager) Run(ctx context.Context, ready func()) error {
	m.init()
	var lookups sync.WaitGroup
	defer lookups.Wait()
	m.names.load()
	if !m.names.anyKnown() { // else one that is not known would delay the others
		m.names.askOnce(ctx, firstNames, m.dialled())
	}
	defer m.finish()
	isReady, began := sync.OnceFunc(ready), time.Now()
	defer time.AfterFunc(readyIn, m.Wake).Stop()
	for ctx.Err() == nil {
		m.names.refresh(ctx, &lookups, m.dialled())
		if err := m.settle(ctx, false); err == nil && (!m.atWork() || time.Since(began) >= readyIn) {
			isReady()
		}
		m.names.refresh(ctx, &lookups, m.dialled())
		m.rest(ctx)
	}
	return nil
}

// enter waits until nobody else is in a pass over the host.
func (m *Manager) enter(ctx context.Context) (leave func(), err error) {
	select {
	case m.pass <- struct{}{}:
		return func() { <-m.pass }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rest waits for a reason to look again.
func (m *Manager) rest(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-m.asked:
		return
	case <-time.After(m.gap):
	}
	select {
	case <-m.woken:
		m.gap = min(2*m.gap, longestGap)
		if !m.idle.Load() {
			m.gap = gap
		}
		return
	default:
		m.gap = gap
	}
	select {
	case <-ctx.Done():
	case <-m.asked:
	case <-m.woken:
	case <-time.After(m.untilNext()):
	}
}

// untilNext is the time to the next sweep, or to the next try of a network that
// waits.
func (m *Manager) untilNext() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := pollSmall
	if peers(m.spec) >= largeFrom {
		next = pollLarge
	}
	for _, c := range m.networks {
		if c.err != "" {
			next = min(next, max(gap, time.Until(c.notBefore)))
		}
	}
	if !m.heldUntil.IsZero() {
		next = min(next, max(gap, time.Until(m.heldUntil)))
	}
	return next
}

func peers(spec Spec) int {
	n := 0
	for _, network := range spec.Networks {
		for _, t := range network.Devices {
			n += len(t.Peers)
		}
	}
	return n
}

// Plan says what Run would do now, and writes nothing. Without Run it asks for
// endpoint names itself, for at most three seconds.
func (m *Manager) Plan(ctx context.Context) ([]Step, error) {
	m.init()
	m.names.load()
	m.names.askOnce(ctx, 3*time.Second, m.dialled())
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var steps []Step
	list, err := m.look(ctx)
	for _, s := range list {
		steps = append(steps, s.Step)
	}
	return steps, err
}

// Lacks is what of the Spec could not be had at the last look or Plan.
func (m *Manager) Lacks() []Problem {
	m.init()
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.problems)
}

// Withdraw takes down what is beyond extent, and Run keeps to that until the
// next Set. Without a Spec it works on whatever of ours is on the host.
func (m *Manager) Withdraw(ctx context.Context, extent Extent) error {
	m.init()
	m.mu.Lock()
	m.extent = extent
	m.orders++
	m.mu.Unlock()
	return m.settle(ctx, true)
}

// Guard puts up what of the Spec refuses and is not there yet. It changes and
// removes nothing, so it may run at boot, before any link is up, and at any
// time later.
func (m *Manager) Guard(ctx context.Context) error {
	m.init()
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	m.workers.Wait()
	m.mu.Lock()
	spec := m.spec
	m.planned = m.orders
	m.mu.Unlock()
	facts, err := m.Host.Facts(ctx, spec)
	if err != nil {
		return fmt.Errorf("reading facts of the host: %w", err)
	}
	have, err := m.Host.Observe(ctx)
	if err != nil {
		return fmt.Errorf("looking at the host: %w", err)
	}
	steps := slices.DeleteFunc(plan(Guard(spec, facts), have), func(s planned) bool { return s.Op != Add })
	return m.take(ctx, steps, true)
}
