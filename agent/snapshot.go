package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Snapshot tells how the gateway is now.
func (a *Agent) Snapshot() block.Snapshot {
	s := a.parts((*checks.Runner).All)
	s.Agent.Outdated = a.outdated(s.Tunnels)
	now := judge(s.Tunnels, s.Checks, a.explained(&s), a.called(), time.Now())
	s.Clock = clockSnapshot(a.clock.now(a.o.Sight.Kept))
	s.Config = a.pilot.snapshot()
	s.Config.Code = newestCode(s.Config.State)
	if a.o.Sight.Host != nil {
		s.Host = a.around.get(context.Background(), a.o.Sight.Host)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Gateway, s.At = a.name, time.Now()
	site := a.identity.Site()
	s.Site, s.Name = site.ID, site.Name
	s.State, s.Since = now.State, a.sinceOf(s, now)
	s.Headline, s.Code = now.Headline, now.Code
	if a.config != nil {
		s.Config.Generation, s.Config.Hash, s.Config.Applied = a.config.Generation, a.config.Hash, a.applied
	}
	s.Config.Ignored = a.ignored
	switch {
	case a.damaged != nil:
		s.Config.Error, s.Config.Code = firstLine(a.damaged), string(why.Damaged)
	case a.fault != nil:
		s.Config.Error, s.Config.Code = firstLine(a.fault), string(why.ConfigRefused)
	}
	if a.uplink != nil {
		s.Collector = a.uplink.Status()
		if s.Collector.Error != "" {
			s.Collector.Code = string(why.CollectorCode(string(a.uplink.Trouble())))
		}
	} else if a.severed != nil {
		s.Collector.URL, s.Collector.Error = a.identity.Collector()[0], firstLine(a.severed)
	}
	s.Programs = programs(a.Kinds())
	s.Agent.Version = a.o.Version
	if a.o.Backend != nil {
		s.Agent.Backend = a.o.Backend()
	}
	if a.runner != nil {
		s.Agent.Lag = lagSnapshot(a.runner.Lag())
	}
	if a.spool != nil {
		stats := a.spool.Stats()
		s.Agent.SpoolUsed = stats.UsedRatio
		s.Collector.Waiting = stats.Waiting
		if err := errors.Join(a.spoolErr, stats.Error); err != nil {
			s.Agent.Trouble = trouble(err, a.o.Paths.Spool())
		}
	}
	return s
}

// programs tells of those that make checks.
func programs(r checks.Registry) (list []block.ProgramSnapshot) {
	for _, k := range r.Kinds() {
		if k.Standing != nil {
			s := k.Standing()
			list = append(list, block.ProgramSnapshot{Kind: k.Name, Path: s.Path, State: s.State, Detail: s.Detail, Weaker: s.Weaker})
		}
	}
	return list
}

// newestCode is the code of a config that did not stay, or that nobody can tell of.
func newestCode(s block.ConfigState) string {
	switch s {
	case block.ConfigFailed:
		return string(why.ConfigFailed)
	case block.ConfigUnconfirmed:
		return string(why.ConfigHeld)
	}
	return ""
}

// trouble says what is wrong with the spool in dir; a full disk has many errors,
// and all say the same.
func trouble(err error, dir string) string {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return "no room on the disk for what is measured (" + dir + "); kept in memory for now"
	}
	return firstLine(err)
}

// firstLine is an error in one line; of several problems the first.
func firstLine(err error) string {
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) == 0 {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	line := problems[0].OneLine()
	if n := len(problems) - 1; n > 0 {
		line += fmt.Sprintf(" (and %d more: ginnel plan)", n)
	}
	return line
}

// parts tells of tunnels and checks; of those what of tells.
func (a *Agent) parts(of func(*checks.Runner) iter.Seq[checks.Status]) block.Snapshot {
	a.mu.Lock()
	runner, c, down := a.runner, a.config, a.down
	room := len(a.subjects)
	a.mu.Unlock()
	var s block.Snapshot
	byName := map[string]checks.Status{}
	if runner != nil {
		for c := range of(runner) {
			a.carry(&c)
			if c.Spec.Kind == TunnelKindName {
				byName[c.Spec.Name] = c
				continue
			}
			if s.Checks == nil {
				s.Checks = make([]block.CheckSnapshot, 0, room)
			}
			s.Checks = append(s.Checks, checkSnapshot(c))
		}
	}
	for _, t := range a.o.Tunnels.Status() {
		snapshot := tunnelSnapshot(t, byName[tunnelName(t.Network, t.Hub)])
		if !down.IsZero() && snapshot.State != checks.Down {
			snapshot.State, snapshot.Since = checks.Down, down
		}
		if !down.IsZero() {
			snapshot.Reason = "taken down by hand; ginnel reload brings it up"
		}
		s.Tunnels = append(s.Tunnels, snapshot)
		filtered(&s, t)
	}
	if c != nil {
		waiting(c, s)
	}
	return s
}

// filtered tells what a network has refused and what somebody contests. All
// tunnels of a network say the same of it.
func filtered(s *block.Snapshot, t tunnels.Status) {
	if n := len(s.Tunnels) - 1; n > 0 && s.Tunnels[n-1].Network == t.Network {
		return
	}
	for _, r := range t.Refused {
		if r.Packets > 0 {
			s.Refused = append(s.Refused, block.RefusedSnapshot{Network: t.Network, Rule: r.Rule, Packets: r.Packets})
		}
	}
	for _, c := range t.Contested {
		s.Contested = append(s.Contested, block.ContestedSnapshot{Network: t.Network, Object: string(c.Kind) + " " + c.Text,
			Since: c.Since, Times: c.Times, Culprit: c.Culprit})
	}
}

// waiting corrects the checks through a tunnel by how that is now: a check that
// runs each half minute is not up for the rest of it when its tunnel is down,
// and waits for nothing once the tunnel is back.
func waiting(c *config.Config, s block.Snapshot) {
	for i := range s.Checks {
		k := &s.Checks[i]
		if k.Network == "" {
			continue
		}
		k.WaitsFor = ""
		active := activeTunnel(c, k.Network)
		for _, t := range s.Tunnels {
			if tunnelName(t.Network, t.Hub) != active || t.State != checks.Down {
				continue
			}
			k.WaitsFor, k.Reason, k.Detail = k.Network, string(checks.Blocked), ""
			if k.State != checks.UnknownState {
				k.State, k.Since = checks.UnknownState, t.Since
			}
		}
	}
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
		s.Reason, s.Hint = t.Err, t.Hint
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
		StandsFor: c.Spec.StandsFor, State: c.State, Since: c.Since, WaitsFor: c.WaitsFor, Unstable: c.Unstable, Figures: figures(c.Figures),
	}
	if c.State != checks.Up {
		s.Reason, s.Detail, s.Blame = string(c.Last.Reason), c.Last.Detail, c.Last.Blame
	}
	if c.Unstable && c.Last.Verdict == checks.OK {
		s.Reason, s.Detail = string(checks.Unstable), "its last results changed too often"
	}
	if c.Err != nil {
		s.Reason, s.Detail = string(checks.NotRun), c.Err.Error()
	}
	return s
}

func lagSnapshot(l checks.Lag) block.LagSnapshot {
	return block.LagSnapshot{Starts: l.Starts, P50: l.P50.Seconds(), P99: l.P99.Seconds(), Max: l.Max.Seconds(), Missed: l.Missed}
}

// figures are null where nothing was measured.
func figures(f checks.Figures) block.Figures {
	out := block.Figures{Sent: f.Sent, Received: f.Received, Odd: block.OddCount(f.Odd)}
	if f.Timed > 0 {
		out.RTTMin, out.RTTp50, out.RTTp95 = new(f.Min.Seconds()), new(f.P50.Seconds()), new(f.P95.Seconds())
		out.TooFew = fmt.Sprintf("it takes %d answers, and there are %d", checks.P99Needs, f.Timed)
	}
	if f.P99 > 0 {
		out.RTTp99, out.PDV, out.TooFew = new(f.P99.Seconds()), new(f.PDV.Seconds()), ""
	}
	if f.Jitter.Of > 0 {
		out.Jitter = new(f.Jitter.Value.Seconds())
	}
	if loss, ok := f.Loss(); ok {
		low, high := f.LossBetween()
		out.Loss, out.LossBetween = &loss, &[2]float64{low, high}
	}
	return out
}
