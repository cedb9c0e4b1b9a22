package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// RunCheck runs a check of the config, or a tunnel's probe, once, now, beside
// its usual runs: no state and no report hears of it.
func (a *Agent) RunCheck(ctx context.Context, name string) (local.CheckRun, error) {
	s, err := a.checkNamed(name)
	if err != nil {
		return local.CheckRun{}, err
	}
	a.mu.Lock()
	runner := a.runner
	a.mu.Unlock()
	if runner == nil {
		return local.CheckRun{}, errNothingMeasured
	}
	return local.RunOf(s, runner.RunOnce(ctx, s)), nil
}

// History is what was measured of a check or tunnel since a time.
func (a *Agent) History(_ context.Context, name string, since time.Time) (local.History, error) {
	a.mu.Lock()
	kept := a.spool
	a.mu.Unlock()
	if kept == nil {
		return local.History{}, errNothingMeasured
	}
	h := local.History{Name: name, From: since, To: time.Now()}
	for b, err := range kept.Blocks(h.From, h.To) {
		if err != nil {
			return h, err
		}
		h.Take(b)
	}
	h.Now = nowOf(a.Snapshot(), name)
	seen, err := a.shelf.List()
	if err != nil {
		return h, err
	}
	for _, e := range slices.Backward(seen) {
		if e.Name == name && !e.At.Before(since) {
			h.Evidence = append(h.Evidence, e)
		}
	}
	if len(h.Points) == 0 { // it may have gone from the config since
		if _, err := a.checkNamed(name); err != nil {
			return h, err
		}
	}
	return h, nil
}

// nowOf is how a check or tunnel is in a snapshot; nil where it is not in it.
func nowOf(s block.Snapshot, name string) *local.HistoryNow {
	for _, c := range s.Checks {
		if c.Name == name {
			text := cmp.Or(c.Detail, c.Reason)
			switch {
			case c.WaitsFor != "":
				text = "waits for " + c.WaitsFor
			case c.State == checks.Up:
				text = ""
			}
			return &local.HistoryNow{State: c.State, Since: c.Since, Code: c.Code, Text: text}
		}
	}
	for _, t := range s.Tunnels {
		if why.TunnelName(t.Network, t.Hub) == name {
			return &local.HistoryNow{State: t.State, Since: t.Since, Code: t.Code, Text: t.Reason}
		}
	}
	return nil
}

// WatchCheck tells of each run of a check until ctx ends, or until the config
// has no such check.
func (a *Agent) WatchCheck(ctx context.Context, name string, begun func(), tell func(local.CheckRun)) error {
	if _, err := a.checkNamed(name); err != nil {
		return err
	}
	runs, stop := a.watched.follow(name)
	defer stop()
	begun()
	for {
		select {
		case <-ctx.Done():
			return nil
		case run := <-runs:
			tell(run)
		case <-time.After(time.Second):
			if _, err := a.checkNamed(name); err != nil {
				return err
			}
		}
	}
}

// checkNamed finds a check, or a tunnel, of the config.
func (a *Agent) checkNamed(name string) (checks.Spec, error) {
	a.mu.Lock()
	c := a.config
	a.mu.Unlock()
	if c == nil {
		return checks.Spec{}, errNothingMeasured
	}
	for _, s := range checksOf(c) {
		if s.Name == name {
			return s, nil
		}
	}
	return checks.Spec{}, unknownCheck(name)
}

// unknownCheck is about a name that the config does not have.
type unknownCheck string

func (n unknownCheck) Error() string {
	return fmt.Sprintf("there is no check or tunnel %q in the config", string(n))
}

// Hint implements the hint of an error.
func (unknownCheck) Hint() string { return "ginnel status lists them; a tunnel is NETWORK/HUB" }

// watched are those who follow runs. The zero value has nobody.
type watched struct {
	mu   sync.Mutex
	list map[chan local.CheckRun]string
}

// behind is how many runs may wait for somebody who follows; more are left out.
const behind = 64

func (w *watched) follow(name string) (runs <-chan local.CheckRun, stop func()) {
	c := make(chan local.CheckRun, behind)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = make(map[chan local.CheckRun]string)
	}
	w.list[c] = name
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.list, c)
	}
}

// tell never blocks, and costs nothing where nobody follows.
func (w *watched) tell(s checks.Spec, r checks.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, name := range w.list {
		if name != s.Name {
			continue
		}
		select {
		case c <- local.RunOf(s, r):
		default:
		}
	}
}
