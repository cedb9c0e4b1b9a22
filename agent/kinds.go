package agent

import (
	"context"
	"errors"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

// Kinds are the kinds of checks that there are now.
func (a *Agent) Kinds() checks.Registry { return *a.kinds.Load() }

// reoffer reads again which programs this gateway offers. Checks of what has
// changed begin anew, the others go on. The error is a *local.LeftOut, or nothing
// was changed.
func (a *Agent) reoffer(ctx context.Context) error {
	if a.o.Offers == nil {
		return nil
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	now, err := a.o.Offers(context.WithoutCancel(ctx)) // who asked may go; the programs stay
	if _, some := errors.AsType[*local.LeftOut](err); err != nil && !some {
		return err
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	before := *a.kinds.Swap(&now)
	a.mu.Lock()
	runner, c := a.runner, a.config
	a.mu.Unlock()
	if runner != nil {
		runner.Use(now)
		if c != nil {
			a.sync(c)
		}
	}
	if err := before.CloseBut(now); err != nil {
		a.o.Log.WarnContext(ctx, "a program that is offered no more did not end well", "err", err)
	}
	return err
}
