// Package agent is the daemon of a gateway: it reads the desired config, hands
// its parts to tunnels and checks, keeps what was measured in the spool, and
// tells the collector. Each of these is a task; Tasks is the list.
//
// What a host or a check kind is made of is chosen by cmd/ginnel.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/agent/trust"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Options are what an agent is made of. All but Offers, Collisions, Beside,
// Watch, Backend and Dataplanes must be set.
type Options struct {
	Paths    Paths
	Config   string // the desired config; empty: Paths.Desired()
	Host     config.Host
	Version  string
	Backend  func() string // "kernel", "userspace", or empty while none is in use
	Tunnels  *tunnels.Manager
	Registry checks.Registry // at the start
	// Offers reads again what programs the gateway offers, and gives all kinds by
	// that; with a *local.LeftOut all but what it names. Nil: there are none.
	Offers func(ctx context.Context) (checks.Registry, error)
	// Dataplanes are those of this host; nil: it has none.
	Dataplanes Dataplanes
	// Collisions says what a config would take away from this host, or needs
	// and somebody else here has.
	Collisions func(ctx context.Context, c *config.Config, spec tunnels.Spec) (config.Problems, error)
	// Sight is what it sees of the host besides its tunnels; Faults is how the
	// checks of tunnels, which Registry has, learn of it. Nil: they do not.
	Sight  Sight
	Faults *Faults
	// Beside lets a trial see what its own routes do to the way to the
	// collector. Nil: it cannot.
	Beside Beside
	// Watch calls wake when something on the host may have changed.
	Watch func(ctx context.Context, wake func()) error
	Log   *slog.Logger
}

// Agent is one gateway's daemon.
type Agent struct {
	o        Options
	started  time.Time
	boot     string // the kernel's boot id
	identity *identity.Identity
	trust    *trust.Trust
	damaged  error // what of identity or trust cannot be read; nil: nothing

	named    chan struct{} // closed once the gateway has a name
	enrolled chan struct{} // closed once it has an identity
	anew     chan struct{} // it was enrolled once more
	wanted   chan struct{} // closed once it has a config
	changed  chan struct{} // a check or tunnel changed its state

	pilot   *pilot
	clock   timepiece
	drops   seldom[why.Drop]
	around  seldom[block.HostSnapshot]
	quiet   silences
	told    refusals
	echoing echoing
	watched watched
	needs   atomic.Pointer[needs]           // never nil
	kinds   atomic.Pointer[checks.Registry] // never nil
	events  chan struct{}                   // something changed on the host

	acting    sync.Mutex // one reload, enrolment or renewal at a time, which may take minutes; before reloading
	reloading sync.Mutex // one change of what runs at a time; a new list waits for no more
	first     sync.Once  // closes wanted

	mu       sync.Mutex // of what follows
	name     string
	config   *config.Config
	text     []byte
	spec     tunnels.Spec // of config, less what is shut out
	applied  time.Time
	down     time.Time      // when the tunnels were taken down by hand; zero: they are not
	fault    error          // of the last config that was refused
	ignored  string         // a config by hand that does not count, in words
	runner   *checks.Runner // nil until the gateway has a name; so is spool
	subjects map[subjectKey]bool
	spoolErr error
	shelf    *spool.Shelf
	flight   *spool.Flight
	spool    *spool.Spool
	uplink   *uplink.Uplink
	severed  error  // why there is no uplink though the gateway is enrolled
	before   memory // what a former agent showed
	last     condition
	since    time.Time // of last.State
	found    why.Findings
	foundAt  time.Time

	remembered []byte // of States, as it is on disk; of watchCondition alone
}

// New reads the identity and what is believed, and opens nothing else. A damaged
// file of theirs keeps no site down: see damaged.go.
func New(o Options) (*Agent, error) {
	id, damaged := identity.Open(o.Paths.Identity())
	if damaged != nil {
		id = identity.Salvage(o.Paths.Identity(), damaged)
	}
	if o.Config == "" {
		o.Config = o.Paths.Desired()
	}
	a := &Agent{
		o: o, started: time.Now(), boot: bootID(), identity: id, damaged: damaged,
		named: make(chan struct{}), enrolled: make(chan struct{}), anew: make(chan struct{}, 1), wanted: make(chan struct{}), changed: make(chan struct{}, 1),
		events: make(chan struct{}, 1), clock: timepiece{file: o.Paths.Floor()},
		last: condition{State: checks.UnknownState}, since: time.Now(), echoing: echoing{log: o.Log},
	}
	a.needs.Store(&needs{})
	a.kinds.Store(&o.Registry)
	a.shelf, a.flight = spool.OpenShelf(o.Paths.Evidence()), &spool.Flight{}
	var err error
	if a.trust, err = trust.Open(o.Paths.Trust(), id.Signers()); err != nil {
		a.trust, a.damaged = trust.Salvage(o.Paths.Trust(), err), cmp.Or(damaged, err)
	}
	if a.damaged != nil {
		o.Log.Error("a file is damaged: the last good config runs, and nothing new is taken", "err", firstLine(a.damaged))
	}
	a.pilot = newPilot(a)
	if err := a.clock.load(); err != nil {
		o.Log.Warn("the time that was seen last cannot be read", "err", err)
	}
	if id.Enrolled() {
		close(a.enrolled)
		a.call(id.Site().Gateway)
		a.clock.saw(id.Certificate().NotBefore)
	}
	return a, nil
}

// Tasks are what the daemon does, all at once.
func (a *Agent) Tasks() []run.Task {
	server := &local.Server{Path: a.o.Paths.Socket(), Agent: a, Log: a.o.Log}
	tasks := []run.Task{
		{Name: "commands", Run: server.Run},
		{Name: "tunnels", Run: a.keepTunnels},
		{Name: "measurements", Run: a.measure},
		{Name: "trials", Run: a.pilot.run},
	}
	if a.o.Host.Metrics.IsValid() {
		tasks = append(tasks, run.Task{Name: "metrics", Run: a.serveMetrics})
	}
	if a.o.Watch != nil {
		tasks = append(tasks, run.Task{Name: "host events", Run: func(ctx context.Context, ready func()) error {
			ready()
			return a.o.Watch(ctx, func() {
				a.o.Tunnels.Wake()
				tip(a.events)
			})
		}})
	}
	return tasks
}

// keepTunnels applies the config at start and keeps the host so. Until there is
// a config it touches nothing: what a former agent left goes on.
func (a *Agent) keepTunnels(ctx context.Context, ready func()) error {
	if a.centreRules() {
		a.bootPushed(ctx)
	} else {
		a.bootByHand(ctx)
	}
	close(a.pilot.booted)
	if !a.configured() {
		ready()
	}
	select {
	case <-ctx.Done():
		return nil
	case <-a.wanted:
		return a.o.Tunnels.Run(ctx, ready)
	}
}

// bootByHand runs what the desired config says, or else what ran last.
func (a *Agent) bootByHand(ctx context.Context) {
	err := a.reloadByHand(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.o.Log.InfoContext(ctx, "no config, nothing to do", "file", a.o.Config)
	case err != nil:
		if err := a.restoreLastGood(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.o.Log.ErrorContext(ctx, "no last good config either", "err", err)
		}
	}
}

// Reload reads what programs are offered and the desired config, and has them
// applied. A *local.LeftOut says what of the offers was not; another error means that
// the config was not changed. A gateway whose config comes from the centre has it run
// again as it is, and refuses a desired config by name.
func (a *Agent) Reload(ctx context.Context) error {
	left := a.reoffer(ctx)
	reload := a.reloadByHand
	if a.centreRules() {
		reload = a.reloadPushed
	}
	return cmp.Or(reload(ctx), left)
}

func (a *Agent) reloadByHand(ctx context.Context) error {
	defer a.act()()
	text, err := os.ReadFile(a.o.Config)
	if err == nil {
		err = a.take(ctx, a.o.Config, text)
	}
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		a.o.Log.ErrorContext(ctx, "config refused, nothing is changed", "file", a.o.Config, "err", firstLine(err))
	}
	a.mu.Lock()
	a.fault = err
	if missing {
		a.fault = nil
	}
	a.mu.Unlock()
	return err
}

// act keeps other acts and changes of what runs away until its result is called.
func (a *Agent) act() (done func()) {
	a.acting.Lock()
	a.reloading.Lock()
	return func() {
		a.reloading.Unlock()
		a.acting.Unlock()
	}
}

// restoreLastGood runs what ran before, and leaves the fault shown.
func (a *Agent) restoreLastGood(ctx context.Context) error {
	text, err := os.ReadFile(a.o.Paths.LastGood())
	if err != nil {
		return err
	}
	a.o.Log.WarnContext(ctx, "running the last good config", "file", a.o.Paths.LastGood())
	return a.take(ctx, a.o.Paths.LastGood(), text)
}

// configured says whether a config runs.
func (a *Agent) configured() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config != nil
}

// sameName refuses a config, or a site pack, that is another gateway's than the
// one that is enrolled or already measured here.
func (a *Agent) sameName(what, name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return SameGateway(what, name, a.name)
}

// SameGateway refuses what is for another gateway than the one that is here;
// empty: none is yet.
func SameGateway(what, name, here string) error {
	if here != "" && here != name {
		return fmt.Errorf("the %s is for gateway %q, but this one is %q", what, name, here)
	}
	return nil
}

// call gives the gateway its name, once.
func (a *Agent) call(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.name == "" {
		a.name = name
		close(a.named)
	}
}

// running gives the config that runs, for the centre.
func (a *Agent) running() (hash, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return "", ""
	}
	return a.config.Hash, string(a.text)
}

// preferred are the collectors that the running config names.
func (a *Agent) preferred() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return nil
	}
	return a.config.Collector
}

// Down takes the tunnels down until the next reload or start.
func (a *Agent) Down(ctx context.Context) error {
	if err := a.o.Tunnels.Withdraw(ctx, tunnels.Refusals); err != nil {
		return err
	}
	a.o.Log.InfoContext(ctx, "tunnels taken down, as asked; a reload brings them up")
	a.mu.Lock()
	a.down = time.Now()
	a.mu.Unlock()
	a.look()
	return nil
}

// tip wakes who waits for c, now or next time.
func tip(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

var _ local.Agent = (*Agent)(nil)
