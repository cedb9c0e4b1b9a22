package agent

import (
	"errors"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Snapshot tells how the gateway is now.
func (a *Agent) Snapshot() block.Snapshot {
	s := a.parts()
	now := judge(s.Tunnels, s.Checks, time.Local)
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Gateway, s.At = a.name, time.Now()
	site := a.identity.Site()
	s.Site, s.Name = site.ID, site.Name
	s.State, s.Since = now.State, a.since
	s.Headline, s.Code = now.Headline, now.Code
	if a.config != nil {
		s.Config = block.ConfigSnapshot{Generation: a.config.Generation, Hash: a.config.Hash, Applied: a.applied}
	}
	if a.fault != nil {
		s.Config.Error = firstLine(a.fault)
	}
	if a.uplink != nil {
		s.Collector = a.uplink.Status()
	}
	s.Agent.Version = a.o.Version
	if a.o.Backend != nil {
		s.Agent.Backend = a.o.Backend()
	}
	if a.spool != nil {
		stats := a.spool.Stats()
		s.Agent.SpoolUsed = stats.UsedRatio
		s.Collector.Waiting = stats.Waiting
		if err := errors.Join(a.spoolErr, stats.Error); err != nil {
			s.Agent.Trouble = firstLine(err)
		}
	}
	return s
}

// firstLine is what of an error fits on a line.
func firstLine(err error) string {
	line, rest, more := strings.Cut(err.Error(), "\n")
	if n := strings.Count(rest, "hint:"); more && n > 1 {
		line += " (and more: ginnel config check)"
	}
	return line
}

// parts tells of tunnels and checks.
func (a *Agent) parts() block.Snapshot {
	a.mu.Lock()
	runner := a.runner
	a.mu.Unlock()
	var s block.Snapshot
	byName := map[string]checks.Status{}
	if runner != nil {
		for _, c := range runner.Status() {
			if c.Spec.Kind == TunnelKindName {
				byName[c.Spec.Name] = c
				continue
			}
			s.Checks = append(s.Checks, checkSnapshot(c))
		}
	}
	for _, t := range a.o.Tunnels.Status() {
		s.Tunnels = append(s.Tunnels, tunnelSnapshot(t, byName[tunnelName(t.Network, t.Hub)]))
	}
	return s
}

func tunnelSnapshot(t tunnels.Status, c checks.Status) block.TunnelSnapshot {
	s := block.TunnelSnapshot{
		Network: t.Network, Role: string(t.Role), Hub: t.Hub, Device: t.Device,
		State: c.State, Since: c.Since, Figures: figures(c.Figures), Peers: len(t.Peers),
	}
	if s.State == "" {
		s.State = checks.UnknownState
	}
	if s.State != checks.Up {
		s.Reason = c.Last.Detail
	}
	if t.Err != "" {
		s.Reason = t.Err
	}
	for _, p := range t.Peers {
		if p.LastHandshake.IsZero() {
			continue
		}
		age := time.Since(p.LastHandshake).Seconds()
		if s.HandshakeAge == nil || age < *s.HandshakeAge {
			s.HandshakeAge = &age
		}
		if age < rejectAfter.Seconds() {
			s.PeersUp++
		}
	}
	return s
}

func checkSnapshot(c checks.Status) block.CheckSnapshot {
	s := block.CheckSnapshot{
		Name: c.Spec.Name, Kind: c.Spec.Kind, Network: c.Spec.Target.Network, Target: c.Spec.Target.Address,
		StandsFor: c.Spec.StandsFor, State: c.State, Since: c.Since, WaitsFor: c.WaitsFor, Figures: figures(c.Figures),
	}
	if c.State != checks.Up {
		s.Reason, s.Detail = string(c.Last.Reason), c.Last.Detail
	}
	if c.Err != nil {
		s.Reason, s.Detail = string(checks.NotRun), c.Err.Error()
	}
	return s
}

// figures are null where nothing was measured.
func figures(f checks.Figures) block.Figures {
	var out block.Figures
	if f.Timed > 0 {
		out.RTTp50, out.RTTp95 = new(f.P50.Seconds()), new(f.P95.Seconds())
	}
	if loss, ok := f.Loss(); ok {
		out.Loss = &loss
	}
	return out
}
