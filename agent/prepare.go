package agent

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/trust"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// prepare judges a signed config and finds out, before anything is written, what
// it touches and how that is. A change of nil: it is the newest already.
func (p *pilot) prepare(ctx context.Context, raw []byte) (*trust.Offer, *trial.Change, error) {
	a := p.a
	if a.damaged != nil {
		return nil, nil, a.refuseDamaged("config")
	}
	name := a.called()
	if name == "" {
		return nil, nil, &local.Error{Text: "this gateway has no name yet", Advice: "enrol it first: ginnel enrol PACK"}
	}
	offer, err := a.trust.Judge(raw, name)
	if err != nil {
		return nil, nil, err
	}
	if r := p.trial.Record(); r.Hash == offer.Config.Hash && !p.mayTryAgain(r.Hash) {
		return nil, nil, ended(r)
	}
	c, err := a.vet(ctx, pushedFile, offer.Bundle.Text, true)
	if err != nil {
		return nil, nil, err
	}
	former := a.wants()
	steps, err := a.o.Tunnels.Change(ctx, c.spec)
	if err != nil {
		return nil, nil, err
	}
	touched := trial.Touched(steps, former, c.spec)
	a.mu.Lock()
	old := a.config
	a.mu.Unlock()
	change := &trial.Change{Generation: offer.Config.Generation, Hash: offer.Config.Hash, Bundle: raw, Limit: offer.Config.Trial}
	change.Tunnels = p.gauges.tunnelsBefore(former, c.spec, touched)
	change.Checks = p.gauges.checksBefore(old, c.config, change.Tunnels)
	return offer, change, nil
}

// ended says why a config that was tried is not tried again; nil: it runs, or is
// being tried.
func ended(r trial.Record) error {
	switch r.Phase {
	case trial.Failed:
		return &local.Error{Text: fmt.Sprintf("generation %d was tried, and gone back from: %s", r.Generation, r.Reason), Advice: "central ops push a newer one"}
	case trial.Overridden:
		return &local.Error{Text: fmt.Sprintf("generation %d was overridden by hand", r.Generation), Advice: "central ops push a newer one, which ends that"}
	}
	return nil
}

// tunnelsBefore are the tunnels of both configs, and at a hub its sites, as they
// are: see trial.Change.
func (g *gauges) tunnelsBefore(former, next tunnels.Spec, touched map[string]bool) []trial.Part {
	wanted := map[string]bool{}
	each(next, func(name string, _ tunnels.Network, _ string) { wanted[name] = true })
	var parts []trial.Part
	shown, leaves := g.shown(), left(former, next, calledAt(g.a.o.Tunnels.Status()))
	had := map[string]bool{}
	each(former, func(name string, n tunnels.Network, _ string) {
		had[name] = true
		now := shown[name]
		parts = append(parts, trial.Part{Name: name, Touched: touched[name], Wanted: wanted[name], Before: now.Now, Was: now.Is, Echoes: now.Echoes, Left: leaves[name]})
	})
	each(next, func(name string, _ tunnels.Network, _ string) {
		if !had[name] && g.record().Phase.Open() {
			parts = append(parts, trial.Part{Name: name, Touched: touched[name], Wanted: true})
		}
	})
	return parts
}

// each calls f for each part of a spec: a tunnel of a site by its hub, at a hub
// what its sites share (peer is empty), and each site.
func each(s tunnels.Spec, f func(name string, n tunnels.Network, peer string)) {
	for _, n := range s.Networks {
		for _, d := range n.Devices {
			f(trial.PartName(n.Name, d.Hub), n, d.Hub)
			if d.Hub != "" {
				continue
			}
			for _, p := range d.Peers {
				f(trial.PartName(n.Name, p.Name), n, p.Name)
			}
		}
	}
}

// checksBefore are the required checks of the new config that are in the old one
// too, and while a trial is open all of them: see trial.Change. One that looks
// beside the tunnels is touched by whatever changes: any network can swallow what
// it looks at.
func (g *gauges) checksBefore(old, next *config.Config, tunnels []trial.Part) []trial.Part {
	if old == nil {
		return nil
	}
	was := map[string]checks.Spec{}
	for _, s := range old.CheckSpecs() {
		was[s.Name] = s
	}
	moved := map[string]bool{} // networks
	for _, t := range tunnels {
		if t.Touched {
			moved[networkOf(t.Name)] = true
		}
	}
	state := map[string]checks.Status{}
	for _, s := range g.statuses() {
		state[s.Spec.Name] = s
	}
	var parts []trial.Part
	for _, s := range next.CheckSpecs() {
		former, ok := was[s.Name]
		if !s.Required || !ok && !g.record().Phase.Open() {
			continue
		}
		network := s.Target.Network
		touched := network == "" && len(moved) > 0 || moved[network] || !reflect.DeepEqual(former, s)
		part := gauge(state[s.Name])
		parts = append(parts, trial.Part{Name: s.Name, Touched: touched, Wanted: true, Before: part.Now, Was: part.Is})
	}
	return parts
}

// networkOf is the network of a part.
func networkOf(name string) string {
	network, _, _ := strings.Cut(name, "/")
	return network
}

// gauge is a state of the runner as a trial sees it.
func gauge(s checks.Status) trial.Part {
	p := trial.Part{Name: s.Spec.Name, Echoes: s.Figures.Timed > 0}
	switch s.State {
	case checks.Up, checks.DegradedState:
		p.Now = trial.Good
	case checks.Down:
		p.Now = trial.Dead
	default:
		return p
	}
	p.Is = string(s.State) + " since " + s.Since.UTC().Format("Mon 15:04:05")
	return p
}

// shown are the states of tunnels and sites that the status shows.
func (g *gauges) shown() map[string]trial.Part {
	parts := map[string]trial.Part{}
	for _, s := range g.statuses() {
		if s.Spec.Kind == TunnelKindName {
			parts[s.Spec.Name] = gauge(s)
		}
	}
	for _, st := range g.a.o.Tunnels.Status() {
		if st.Role != tunnels.Hub {
			continue
		}
		for _, p := range st.Peers {
			part := trial.Part{Name: trial.PartName(st.Network, p.Name), Now: trial.Dead}
			if p.Present && time.Since(p.LastHandshake) < rejectAfter {
				part.Now = trial.Good
			}
			parts[part.Name] = part
		}
		all := trial.Part{Name: trial.PartName(st.Network, ""), Now: trial.Dead}
		if slices.ContainsFunc(st.Peers, func(p tunnels.PeerStatus) bool {
			return parts[trial.PartName(st.Network, p.Name)].Now == trial.Good
		}) {
			all.Now = trial.Good
		}
		parts[all.Name] = all
	}
	return parts
}

// statuses are the checks as the status shows them; none while nothing measures.
func (g *gauges) statuses() []checks.Status {
	g.a.mu.Lock()
	runner := g.a.runner
	g.a.mu.Unlock()
	if runner == nil {
		return nil
	}
	return g.a.carried(runner.Status())
}
