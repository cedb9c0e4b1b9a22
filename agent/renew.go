package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/tunnels"
)

// Dataplanes are the programs that handle packets where the kernel does not.
type Dataplanes interface {
	// Running is the version of the one that a device has; false: it has none.
	Running(device string) (version string, ok bool)
	// Installed is the version that a new one would have; empty: not known.
	Installed() string
}

// Renew replaces the data planes of a network, or of all where none is named, and
// tells the loss of each.
func (a *Agent) Renew(ctx context.Context, network string, tell func(local.Progress)) error {
	a.acting.Lock()
	defer a.acting.Unlock()
	return Renew(ctx, a.o.Tunnels, a.o.Dataplanes, network, tell)
}

// Renew does it by a manager of tunnels, which has its Spec. One device is
// replaced after the other, and the one that carries the routes last: should a
// new program not start, that one is still there. What refuses stays meanwhile,
// so nothing leaks.
func Renew(ctx context.Context, m *tunnels.Manager, planes Dataplanes, network string, tell func(local.Progress)) error {
	if _, err := m.Plan(ctx); err != nil { // names and peers as they are now
		return err
	}
	all := m.Status()
	order := renewals(all, network)
	if len(order) == 0 {
		return &local.Error{Text: fmt.Sprintf("no network %q runs here", network), Advice: "ginnel status lists them"}
	}
	var failed []error
	for _, t := range order {
		text, err := renew(ctx, m, planes, t)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", t.Device, err))
			continue
		}
		tell(local.Progress{Step: t.Device, OK: true, Text: text})
	}
	return errors.Join(failed...)
}

// renewals are the tunnels of a network, or of all, with the first hub of each
// network last.
func renewals(all []tunnels.Status, network string) []tunnels.Status {
	var order []tunnels.Status
	for i := 0; i < len(all); {
		n := i
		for n < len(all) && all[n].Network == all[i].Network {
			n++
		}
		if network == "" || all[i].Network == network {
			for _, t := range slices.Backward(all[i:n]) {
				order = append(order, t)
			}
		}
		i = n
	}
	return order
}

// How long echoes are sent before a data plane is replaced, and after, and how
// long after at the most where none come back.
const (
	echoesBefore, echoesAfter, echoesMost = 500 * time.Millisecond, 2500 * time.Millisecond, 15 * time.Second
	// onTheWay is the longest that an echo may take.
	onTheWay = 500 * time.Millisecond
)

// renew replaces one data plane and says what that cost.
func renew(ctx context.Context, m *tunnels.Manager, planes Dataplanes, t tunnels.Status) (string, error) {
	if t.Backend == "kernel" {
		return "in the kernel, there is nothing to renew", nil
	}
	former, ok := planes.Running(t.Device)
	if !ok {
		return "", errors.New("no data plane runs for it")
	}
	var probe *echoes
	from, to, known := echoPath(t)
	if known {
		var err error
		if probe, err = sendEchoes(ctx, from, to); err != nil {
			return "", err
		}
		defer probe.Close()
		pause(ctx, echoesBefore)
	}
	err := replace(ctx, m, t.Device)
	latter, ok := planes.Running(t.Device)
	if !ok { // else err is of another network
		return "", cmp.Or(err, errors.New("the new data plane has ended"))
	}
	return fmt.Sprintf("%s -> %s, %s", former, latter, cost(ctx, probe)), ctx.Err()
}

// replace removes a device, with which its data plane ends, and has it made anew.
func replace(ctx context.Context, m *tunnels.Manager, device string) error {
	gone := tunnels.Step{Op: tunnels.Remove, Kind: tunnels.DeviceKind, Device: &tunnels.Device{Name: device}}
	if err := m.Host.Apply(ctx, gone); err != nil {
		return err
	}
	return m.Withdraw(ctx, tunnels.All)
}

// echoPath is from where to where echoes show that a tunnel works: to the hub's
// own address, or, at a hub, to that of the site that was heard last.
func echoPath(t tunnels.Status) (from, to netip.Addr, ok bool) {
	var last time.Time
	for _, p := range t.Peers {
		own, known := tunnels.OwnAddress(p.AllowedIPs)
		if !known || !p.LastHandshake.After(last) {
			continue
		}
		for _, a := range t.Addresses {
			if a.Addr().Is4() == own.Addr().Is4() {
				from, to, ok, last = a.Addr(), own.Addr(), true, p.LastHandshake
			}
		}
	}
	return from, to, ok
}

// cost waits for echoes to tell what was lost. Without any it cannot be told.
func cost(ctx context.Context, probe *echoes) string {
	if probe == nil {
		return "what that lost was not measured: no peer has a session and an address of its own"
	}
	begin := time.Now()
	pause(ctx, echoesAfter)
	g := probe.gap(time.Now().Add(-onTheWay))
	for !g.Over && g.Lost < g.Sent && time.Since(begin) < echoesMost && ctx.Err() == nil {
		pause(ctx, echoEvery)
		g = probe.gap(time.Now().Add(-onTheWay))
	}
	switch {
	case g.Lost == g.Sent:
		return fmt.Sprintf("what that lost was not measured: %v answers no echo", probe.to)
	case !g.Over:
		return fmt.Sprintf("no echo since, %d of %d lost", g.Lost, g.Sent)
	}
	return fmt.Sprintf("%d ms without a tunnel, %d of %d echoes lost", g.Longest.Milliseconds(), g.Lost, g.Sent)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// outdated are the data planes that are not of the installed version.
func (a *Agent) outdated(list []block.TunnelSnapshot) []block.OutdatedSnapshot {
	if a.o.Dataplanes == nil {
		return nil
	}
	var old []block.OutdatedSnapshot
	installed := a.o.Dataplanes.Installed()
	for _, t := range list {
		if v, ok := a.o.Dataplanes.Running(t.Device); ok && installed != "" && v != installed {
			old = append(old, block.OutdatedSnapshot{Network: t.Network, Device: t.Device, Version: v, Installed: installed})
		}
	}
	return old
}
