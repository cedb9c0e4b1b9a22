// Package tunnelstest has a tunnels.Host that is only values in memory, for the
// tests of whatever works with one. It keeps the rules that Linux keeps: an
// address needs its link, a prefix has one peer of a device, what belongs to a
// link goes with it.
package tunnelstest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ginnel/ginnel/tunnels"
)

// Host is a machine without anything on it. Its zero value is ready.
type Host struct {
	// Fail, if set, is asked before each step; n counts from 1. Its error
	// is the step's, and nothing is written. It may take its time.
	Fail func(n int, s tunnels.Step) error
	// FailFacts and FailObserve, if set, are asked before each look.
	FailFacts, FailObserve func() error
	// Silent makes Observe tell no preshared keys.
	Silent bool

	mu    sync.Mutex
	state tunnels.State
	facts tunnels.Facts
	steps []tunnels.Step
	tried int
	looks int
	ports int
}

// SetFacts says what Facts returns from now on.
func (h *Host) SetFacts(f tunnels.Facts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts = f
}

// State returns what is on the host, as Observe does.
func (h *Host) State() tunnels.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.observed()
}

// Change lets a test do what somebody else on the host could.
func (h *Host) Change(f func(s *tunnels.State)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.state)
}

// Take returns the steps that were written since the last call.
func (h *Host) Take() []tunnels.Step {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.steps
	h.steps = nil
	return s
}

// Looks is how often Observe was called.
func (h *Host) Looks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.looks
}

// Facts implements tunnels.Host.
func (h *Host) Facts(ctx context.Context, _ tunnels.Spec) (tunnels.Facts, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.FailFacts != nil {
		if err := h.FailFacts(); err != nil {
			return tunnels.Facts{}, err
		}
	}
	return h.facts, ctx.Err()
}

// Observe implements tunnels.Host.
func (h *Host) Observe(ctx context.Context) (tunnels.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	if h.FailObserve != nil {
		if err := h.FailObserve(); err != nil {
			return tunnels.State{}, err
		}
	}
	return h.observed(), ctx.Err()
}

// Apply implements tunnels.Host, for a step with all that is taken with it.
func (h *Host) Apply(ctx context.Context, s tunnels.Step) error {
	for _, w := range s.Writes() {
		if err := h.apply(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) apply(ctx context.Context, s tunnels.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.mu.Lock()
	h.tried++
	n := h.tried
	h.mu.Unlock()
	if h.Fail != nil {
		if err := h.Fail(n, s); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.write(s); err != nil {
		return fmt.Errorf("%c %s %s: %w", s.Op, s.Kind, s.Text, err)
	}
	h.steps = append(h.steps, s)
	return nil
}

// observed is a copy of the state without what a host does not tell.
func (h *Host) observed() tunnels.State {
	s := tunnels.State{Rules: slices.Clone(h.state.Rules), Routes: slices.Clone(h.state.Routes),
		Filters: slices.Clone(h.state.Filters), Settings: slices.Clone(h.state.Settings)}
	for _, d := range h.state.Devices {
		d.Addresses, d.Peers = slices.Clone(d.Addresses), slices.Clone(d.Peers)
		for i := range d.Peers {
			d.Peers[i].AllowedIPs = slices.Clone(d.Peers[i].AllowedIPs)
			if h.Silent {
				d.Peers[i].PresharedKey = none
			}
		}
		s.Devices = append(s.Devices, d)
	}
	return s
}
