// Package web shows what the collector knows: as pages for people, as JSON for
// programs, and as Prometheus text for their monitoring. All three are made
// from one view of the store, and bounded by what the operator who asks may see.
// It lets operators change what is theirs, and has control do it.
package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// DefaultSilence is three heartbeats of the usual length.
const DefaultSilence = 90 * time.Second

// view reads sites from the store as they are to be shown.
type view struct {
	store   *Recent
	silence time.Duration // after this long without a snapshot a state is unknown
	now     func() time.Time
}

// sites gives all sites, worst first.
func (v *view) sites(ctx context.Context) ([]centre.Site, error) {
	sites, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	enrolled, err := v.store.Gateways(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]centre.Site, 0, len(sites))
	for _, s := range sites {
		d, err := v.detail(ctx, s, enrolled)
		if err != nil {
			return nil, err
		}
		all = append(all, d.Site)
	}
	centre.WorstFirst(all)
	return all, nil
}

// all gives the sites that the operator may see.
func (v *view) all(ctx context.Context) ([]store.Site, error) {
	all, err := v.store.Sites(ctx)
	sc := scope(ctx)
	return slices.DeleteFunc(all, func(s store.Site) bool { return !sc.Sees(s.Networks) }), err
}

// known gives a site that the operator may see. Any other is not there, so
// that its name cannot be found out.
func (v *view) known(ctx context.Context, id string) (store.Site, error) {
	s, err := v.store.Site(ctx, id)
	if err == nil && !scope(ctx).Sees(s.Networks) {
		return store.Site{}, fmt.Errorf("site %q: %w", id, store.ErrNotFound)
	}
	return s, err
}

// site gives one site with its snapshots.
func (v *view) site(ctx context.Context, id string) (centre.SiteDetail, error) {
	s, err := v.known(ctx, id)
	if err != nil {
		return centre.SiteDetail{}, err
	}
	enrolled, err := v.store.Gateways(ctx)
	if err != nil {
		return centre.SiteDetail{}, err
	}
	return v.detail(ctx, s, enrolled)
}

func (v *view) detail(ctx context.Context, s store.Site, enrolled []store.Gateway) (centre.SiteDetail, error) {
	sc := scope(ctx)
	s.Networks = slices.DeleteFunc(slices.Clone(s.Networks), func(n string) bool { return !sc.Network(n) })
	d := centre.SiteDetail{
		Site: centre.Site{ID: s.ID, Name: s.Name, Postcode: s.Postcode, Networks: s.Networks,
			Gateways: []centre.Gateway{}},
		Snapshots: []centre.Snapshot{},
	}
	if d.Networks == nil {
		d.Networks = []string{}
	}
	for _, g := range gatewaysOf(s, enrolled) {
		snap, arrived, err := v.store.Snapshot(ctx, g.Name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return d, err
		}
		bound(&snap, sc)
		said := centre.Snapshot{Snapshot: snap, Arrived: arrived}
		if err == nil {
			d.Snapshots = append(d.Snapshots, said)
		}
		d.Gateways = append(d.Gateways, v.gateway(g, said))
	}
	sum(&d.Site)
	return d, nil
}

// gatewaysOf gives a site's gateways; the first may not have enrolled yet.
func gatewaysOf(s store.Site, enrolled []store.Gateway) []store.Gateway {
	var of []store.Gateway
	for _, g := range enrolled {
		if g.Site == s.ID {
			of = append(of, g)
		}
	}
	if !slices.ContainsFunc(of, func(g store.Gateway) bool { return g.Name == s.Gateway }) {
		of = append(of, store.Gateway{Name: s.Gateway, Site: s.ID})
	}
	slices.SortFunc(of, func(a, b store.Gateway) int { return cmp.Compare(a.Name, b.Name) })
	return of
}

// gateway says what is known of a gateway now. Silence is unknown, never down:
// the snapshot is then of the past, and says so.
func (v *view) gateway(g store.Gateway, said centre.Snapshot) centre.Gateway {
	shown := centre.Gateway{Name: g.Name, Role: "site", Enrolled: g.Enrolled, LastSeen: g.LastSeen, State: checks.UnknownState}
	switch {
	case g.Enrolled.IsZero():
		shown.Headline = g.Name + " is not enrolled yet"
		return shown
	case said.Arrived.IsZero():
		shown.Since = g.Enrolled
		shown.Headline = g.Name + " is enrolled and has not reported yet"
		return shown
	}
	shown.Version = said.Agent.Version
	for _, t := range said.Tunnels {
		if t.Role == "hub" {
			shown.Role = "hub"
		}
		shown.Tunnels.Add(t.State)
	}
	for _, c := range said.Checks {
		shown.Checks.Add(c.State)
	}
	if v.now().Sub(said.Arrived) > v.silence {
		shown.Since = said.Arrived
		shown.Headline = fmt.Sprintf("%s is silent: it may be off, or cut off from here", g.Name)
		return shown
	}
	shown.Current = true
	shown.State, shown.Since = said.State, said.Since
	shown.Code, shown.Headline = said.Code, said.Headline
	return shown
}

// sum gives a site the state of the worst of its gateways.
func sum(s *centre.Site) {
	worst := slices.MaxFunc(s.Gateways, func(a, b centre.Gateway) int {
		return cmp.Compare(centre.Severity(a.State), centre.Severity(b.State))
	})
	s.State, s.Since, s.Code, s.Headline = worst.State, worst.Since, worst.Code, worst.Headline
	for _, g := range s.Gateways {
		if g.LastSeen.After(s.LastSeen) {
			s.LastSeen = g.LastSeen
		}
	}
}
