package agent

import (
	"context"
	"time"
)

// listNumber is that of the list in force; 0: none is.
func (a *Agent) listNumber() uint64 {
	if l := a.trust.List(); l != nil {
		return l.Number
	}
	return 0
}

// shutOut has each new list applied: at once, whatever is tried meanwhile.
func (p *pilot) shutOut(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.listed:
		}
		for failed := false; ctx.Err() == nil; failed = true {
			err := p.a.shutOut()
			if err == nil {
				break
			}
			if !failed {
				p.a.o.Log.ErrorContext(ctx, "the list of what is shut out cannot be applied; it is tried again", "err", err)
			}
			pause(ctx, 5*time.Second)
		}
	}
}

// shutOut has the running config lose or get back what another list says.
func (a *Agent) shutOut() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.mu.Lock()
	c := a.config
	a.mu.Unlock()
	if c == nil {
		return nil
	}
	spec, err := a.trust.Apply(c).Spec(a.o.Paths.Key)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.spec = spec
	down := !a.down.IsZero()
	a.mu.Unlock()
	if !down { // by hand: the next reload has it
		a.o.Tunnels.Set(spec)
	}
	return nil
}
