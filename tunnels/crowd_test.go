package tunnels_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// crowded is a host that takes many at once, and notes what came so.
type crowded struct {
	*tunnelstest.Host
	refuse        bool // routes at once
	refused       int  // how often they were
	peers, routes int
	mixed         bool // routes that refuse came with such as carry
}

func (h *crowded) AddPeers(ctx context.Context, device string, peers []tunnels.Peer) error {
	for _, p := range peers {
		if err := h.Apply(ctx, tunnels.Step{Op: tunnels.Add, Kind: tunnels.PeerKind, Device: &tunnels.Device{Name: device}, Peer: &p}); err != nil {
			return err
		}
	}
	h.peers += len(peers)
	return nil
}

func (h *crowded) AddRoutes(ctx context.Context, routes []tunnels.Route) error {
	if h.refuse {
		h.refused++
		return errors.New("one of them is there already")
	}
	for _, r := range routes {
		h.mixed = h.mixed || r.Unreachable != routes[0].Unreachable
		if err := h.Apply(ctx, tunnels.Step{Op: tunnels.Add, Kind: tunnels.RouteKind, Route: &r}); err != nil {
			return err
		}
	}
	h.routes += len(routes)
	return nil
}

// A big hub is made by few writes, what refuses before the device; where many at
// once are refused, they are made one by one.
func TestManyAtOnce(t *testing.T) {
	const sites = 700
	for _, refuse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &crowded{Host: &tunnelstest.Host{}, refuse: refuse}
			h.SetFacts(facts())
			m := &tunnels.Manager{Host: h}
			m.Set(bigHub(sites))
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.Run(ctx, func() {}) }()
			pass(time.Second)
			want, _ := tunnels.Want(bigHub(sites), facts(), resolve)
			if steps := tunnels.Plan(want, h.State()); len(steps) > 0 {
				t.Errorf("the host is not as wanted:\n%s", lines(steps))
			}
			routes := 4 * sites
			if refuse {
				routes = 0
			}
			if h.peers != sites || h.routes != routes {
				t.Errorf("at once came %d peers and %d routes, want %d and %d", h.peers, h.routes, sites, routes)
			}
			if most := (4*sites + 1023) / 1024 * 2; h.refused > most { // a crowd, and of either sort
				t.Errorf("routes came at once %d times in vain, want %d at most", h.refused, most)
			}
			steps := h.Take()
			refuses := func(s tunnels.Step) bool { return s.Kind == tunnels.RouteKind && s.Route.Unreachable }
			device := slices.IndexFunc(steps, func(s tunnels.Step) bool { return s.Kind == tunnels.DeviceKind })
			if slices.ContainsFunc(steps[device:], refuses) || slices.ContainsFunc(steps[:device], func(s tunnels.Step) bool {
				return s.Kind == tunnels.RouteKind && !refuses(s)
			}) {
				t.Error("the device is not between the routes that refuse and those that carry")
			}
			h.Change(func(s *tunnels.State) { s.Routes = nil })
			m.Wake()
			pass(10 * time.Second)
			if steps := tunnels.Plan(want, h.State()); len(steps) > 0 || h.mixed {
				t.Errorf("put back, mixed: %v; missing:\n%s", h.mixed, lines(steps))
			}
			stop()
			<-done
		})
	}
}
