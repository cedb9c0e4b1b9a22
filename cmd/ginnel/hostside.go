package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/host"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// hostSide is this machine as tunnels see it.
type hostSide struct {
	*host.Host
	Settings config.Host
	Manager  *tunnels.Manager
	planes   dataplanes
	paths    agent.Paths
}

// openHost opens the machine by what ginnel.toml says of it.
func openHost(paths agent.Paths, log *slog.Logger) (*hostSide, error) {
	settings, err := config.LoadHost(paths.Host())
	if err != nil {
		return nil, err
	}
	plane := wireguard.Plane{NoOffload: settings.Offload != nil && !*settings.Offload, Memory: settings.DataplaneMemory}
	setsid := wireguard.Setsid{Program: dataplaneProgram(), Log: filepath.Join(paths.Run, "dataplane.log"), Plane: plane}
	h, err := host.New(host.Options{
		Remember: paths.Settings(), Uplinks: settings.Uplinks, Backend: wireguard.Backend(settings.Backend), Log: log,
		Launcher: wireguard.Either(wireguard.Socket{Path: paths.DataplaneSocket(), Plane: plane}, setsid),
	})
	if err != nil {
		return nil, err
	}
	return &hostSide{
		Host: h, Settings: settings, paths: paths, planes: dataplanes{program: setsid},
		Manager: &tunnels.Manager{Host: h, Resolver: net.DefaultResolver, Cache: agent.Names{File: paths.Names()}, Log: log},
	}, nil
}

// dataplaneProgram is beside this program, or where the package puts it.
func dataplaneProgram() string {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "ginnel-dataplane")
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return "/usr/lib/ginnel/ginnel-dataplane"
}

// collisions says what a config would take away from this host, and what it
// needs that somebody else here has.
func (h *hostSide) collisions(ctx context.Context, c *config.Config, spec tunnels.Spec) (config.Problems, error) {
	facts, err := h.Facts(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("look at the host: %w", err)
	}
	gateways, err := h.Gateways()
	if err != nil {
		return nil, err
	}
	found := config.HostFacts{
		Links: facts.Links, Gateways: gateways, Protected: h.Settings.Protected,
	}
	found.Endpoints, found.Collector = h.places(ctx, c)
	taken, err := h.Taken(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("look for what others have: %w", err)
	}
	return append(config.HostCollisions(c, found), c.Taken(taken)...).Sorted(), nil
}

// newCollisions is collisions for an agent. The config that ran here last goes
// on with what others have taken meanwhile: a site must not stay down after a
// boot because of one network's port.
func (h *hostSide) newCollisions(ctx context.Context, c *config.Config, spec tunnels.Spec) (config.Problems, error) {
	problems, err := h.collisions(ctx, c, spec)
	if len(problems) == 0 {
		return nil, err
	}
	if h.ranLast(c) {
		_, problems = problems.Split(config.ErrTaken)
	}
	return problems, err
}

// ranLast reports whether this is the config that ran here last.
func (h *hostSide) ranLast(c *config.Config) bool {
	last, err := h.paths.Boots()
	return err == nil && last.Hash == c.Hash
}

// places are the addresses of a config's endpoints and of the collectors, its own
// and those of the site pack. For the config that ran here last nobody is asked:
// what is remembered does, and a dead resolver delays no boot.
func (h *hostSide) places(ctx context.Context, c *config.Config) (endpoints map[string][]netip.Addr, collector []netip.Addr) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if h.ranLast(c) {
		cancel()
	}
	known, _ := agent.Names{File: h.paths.Names()}.Load() // the manager says what is wrong with it
	endpoints = map[string][]netip.Addr{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	ask := func(name string, found func([]netip.Addr)) {
		wg.Go(func() {
			list := addresses(ctx, name, known)
			mu.Lock()
			defer mu.Unlock()
			found(list)
		})
	}
	for _, n := range c.Networks {
		for _, hub := range n.Hubs {
			for _, e := range hub.Endpoints {
				ask(e, func(list []netip.Addr) { endpoints[e] = list })
			}
		}
	}
	collectors := c.Collector
	if id, err := identity.Open(h.paths.Identity()); err == nil && id.Enrolled() {
		collectors = append(slices.Clone(collectors), id.Collector()...)
	}
	for _, u := range collectors {
		ask(hostOf(u), func(list []netip.Addr) { collector = append(collector, list...) })
	}
	wg.Wait()
	return endpoints, collector
}

// addresses of a host or "host:port", the last known ones where there is no
// answer. None where it never had one: a collision that cannot be seen yet must
// not keep a site down.
func addresses(ctx context.Context, name string, known map[string][]netip.Addr) []netip.Addr {
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return known[name]
	}
	for i := range list {
		list[i] = list[i].Unmap()
	}
	return list
}
