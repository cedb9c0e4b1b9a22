package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/checks"
	"golang.org/x/sys/unix"
)

// measure waits until the gateway has a name, then measures, keeps and reports
// until ctx is done.
func (a *Agent) measure(ctx context.Context, ready func()) error {
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-a.named:
	}
	kept, err := spool.Open(a.o.Paths.Spool(), spool.Options{Gateway: a.name, Log: a.o.Log})
	if err != nil {
		return err
	}
	defer kept.Close()
	if err := a.recall(kept); err != nil {
		a.o.Log.WarnContext(ctx, "what was shown before is forgotten", "err", err)
	}
	looking := newEvidence(a)
	var runner *checks.Runner // it asks nothing before it is here
	runner = checks.NewRunner(checks.RunnerOptions{
		Gateway: a.name, Registry: a.Kinds(), Log: a.o.Log, Sink: recorder{kept, a, looking},
		Blocker: func(s checks.Spec) (string, bool) { return a.needs.Load().before(s, runner.State) },
		Metered: func(s checks.Spec) bool { return a.needs.Load().paid(s) },
		Way:     func() checks.Way { return a.needs.Load().way },
		Asleep:  asleep,
		Excuse:  func(s checks.Spec, r checks.Result) (string, bool) { return a.needs.Load().after(s, r, runner.State) },
	})
	defer runner.Close()
	defer a.echoing.sync(nil)
	a.mu.Lock()
	a.spool, a.runner = kept, runner
	c := a.config
	a.mu.Unlock()
	runner.Use(a.Kinds()) // they may be others by now, and nobody told it
	if c != nil {
		a.sync(c)
	}
	a.look()
	return run.Run(ctx, []run.Task{
		{Name: "spool", Run: kept.Run},
		{Name: "site state", Run: a.watchCondition},
		{Name: "evidence", Run: looking.run},
		{Name: "collector", Run: a.report},
	}, func() {})
}

// asleep is how long this machine has slept since it was started.
func asleep() time.Duration {
	var awake, all unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &all) != nil {
		return 0
	}
	return time.Duration(all.Nano() - awake.Nano())
}

// report keeps the centre told, from the moment that the gateway is enrolled.
func (a *Agent) report(ctx context.Context, ready func()) error {
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-a.enrolled:
	}
	for ctx.Err() == nil {
		if err := a.reportTo(ctx); err != nil { // what ginnel.toml says, which must not end all else
			a.o.Log.ErrorContext(ctx, "the way to the centre cannot be opened; it is tried again", "err", err)
			a.mu.Lock()
			a.severed = err
			a.mu.Unlock()
			pause(ctx, reopen)
		}
	}
	return nil
}

// reopen is the pause between tries to open the way to the centre.
const reopen = time.Minute

// reportTo keeps the centre told until the gateway is enrolled once more, perhaps
// at another one. The error is of what it is to do that by.
func (a *Agent) reportTo(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() {
		select {
		case <-a.anew:
			stop()
		case <-ctx.Done():
		}
	})
	var extraCA []byte
	if file := a.o.Host.ExtraCA; file != "" {
		var err error
		if extraCA, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("read the extra CA: %w", err)
		}
	}
	a.mu.Lock()
	kept := a.spool
	a.mu.Unlock()
	up, err := uplink.New(uplink.Options{
		Identity: a.identity, Version: a.o.Version, Snapshot: a.Snapshot, Effective: a.running, Steering: a.pilot, Preferred: a.preferred,
		Keys: a.o.Paths.publicKey, Boot: a.boot,
		Queue: kept, Evidence: a.shelf, Clock: a.clock.compared, Proxy: a.o.Host.Proxy, ExtraCA: extraCA, Log: a.o.Log,
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.uplink, a.severed = up, nil
	a.mu.Unlock()
	return run.Run(ctx, []run.Task{
		{Name: "control", Run: up.Control},
		{Name: "delivery", Run: up.Deliver},
	}, func() {})
}

// activeTunnel is the tunnel that a network's routes use: the first hub's.
func activeTunnel(c *config.Config, network string) string {
	for _, n := range c.Networks {
		if n.Name == network && len(n.Hubs) > 0 {
			return tunnelName(network, n.Hubs[0].Name)
		}
	}
	return tunnelName(network, "")
}

var errNothingMeasured = errors.New("nothing is measured yet: there is no config")

// Report is this gateway's own report of a month, from the blocks that it kept.
func (a *Agent) Report(_ context.Context, p report.Period) (*report.Report, error) {
	a.mu.Lock()
	kept, name, site := a.spool, a.name, a.identity.Site()
	a.mu.Unlock()
	if kept == nil {
		return nil, errNothingMeasured
	}
	from, to, err := p.Span()
	if err != nil {
		return nil, err
	}
	about := report.Site{ID: cmp.Or(site.ID, name), Name: site.Name, Gateway: name}
	return report.Compute(p, about, kept.Blocks(from.Add(-report.Margin), to.Add(report.Margin)))
}
