package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/trial"
)

// Apply tries a signed config, as from a stick, and tells how it fares until it is
// decided, or held.
func (a *Agent) Apply(ctx context.Context, raw []byte, tell func(local.Progress)) error {
	asked := time.Now()
	if err := a.pilot.order(ctx, order{apply: raw}); err != nil {
		return err
	}
	b, err := bundle.Parse(raw)
	if err != nil {
		return err
	}
	begun, last := time.Now(), trial.Phase("")
	for {
		r := a.pilot.trial.Record()
		// What failed before, and is tried once more, says nothing of this time.
		former := r.Hash != b.Hash() || r.Phase == trial.Failed && r.Began.Before(asked)
		if former && time.Since(begun) < settledIn {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		if former {
			return &local.Error{Text: "the trial could not begin", Advice: "the agent's log says why: journalctl -u ginnel"}
		}
		if last == "" && r.Phase != trial.Trying && !r.Began.Before(asked) { // it was quicker than our looks
			begins := r
			begins.Phase = trial.Trying
			tell(local.Progress{Step: string(begins.Phase), OK: true, Text: stepText(begins)})
		}
		if r.Phase != last {
			tell(local.Progress{Step: string(r.Phase), OK: r.Phase != trial.Failed && r.Phase != trial.Leaving, Text: stepText(r)})
		}
		switch last = r.Phase; r.Phase {
		case trial.Kept:
			return nil
		case trial.Held:
			return &local.Error{Text: fmt.Sprintf("generation %d runs, unconfirmed: %s", r.Generation, r.Reason), Advice: "it is confirmed by itself once the collector is heard"}
		case trial.Failed, trial.Overridden:
			return &local.Error{Text: fmt.Sprintf("generation %d was gone back from: %s", r.Generation, message(r))}
		}
		select {
		case <-ctx.Done():
			return ctx.Err() // the trial goes on
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stepText says where a trial is.
func stepText(r trial.Record) string {
	switch r.Phase {
	case trial.Trying:
		return fmt.Sprintf("generation %d runs, until %s to prove itself", r.Generation, r.Until.Format("15:04:05"))
	case trial.Leaving:
		return "the config before is put back: " + r.Reason
	case trial.Kept:
		return fmt.Sprintf("generation %d stays", r.Generation)
	}
	return r.Reason
}

// Rollback goes back to the config before, until there is a newer generation.
func (a *Agent) Rollback(ctx context.Context) error { return a.pilot.order(ctx, order{back: true}) }

// order hands one over and waits for its answer.
func (p *pilot) order(ctx context.Context, o order) error {
	o.done = make(chan error, 1)
	select {
	case p.orders <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
