package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/tunnels"
)

// playFight has two programs fight over what is ours: one removes a rule, one
// empties our nftables table, each as soon as it is back. The agent must name
// them, give way without giving up, and leave the rest of its work undisturbed.
func playFight(ctx context.Context, s *stage) error {
	h, err := newHealing(ctx, s)
	if err != nil {
		return err
	}
	defer h.close()
	other, err := startLoad(ctx, h.site.LAN, results)
	if err != nil {
		return err
	}
	err = h.fight(ctx)
	if err := errors.Join(err, other.end()); err != nil {
		return err
	}
	s.unharmed(other, "heron")
	return h.unchanged(ctx)
}

// fighter is a program that keeps changing one thing of ours.
type fighter struct {
	file, kind string // kind is how a contest names the object's
	script     string
	cmd        *exec.Cmd
	named      time.Duration // from the start; 0: not
	contest    block.ContestedSnapshot
}

// fighters as somebody would write them, in a hurry.
func (h *healing) fighters() []*fighter {
	rule := tunnels.RulePriority(h.network)
	return []*fighter{
		{file: "/run/drop-rule.sh", kind: "rule", script: fmt.Sprintf("#!/bin/sh\nwhile :; do ip rule del priority %d 2>/dev/null; sleep 0.2; done\n", rule)},
		{file: "/run/own-firewall.sh", kind: "filter", script: fmt.Sprintf("#!/bin/sh\nwhile :; do nft flush table inet %s; sleep 0.5; done\n", tunnels.FilterTable(h.network))},
	}
}

// fight lets the fighters in, watches for a while, and sends them away.
func (h *healing) fight(ctx context.Context) error {
	s := h.stage
	log, err := s.logFromHere(h.site)
	if err != nil {
		return err
	}
	all := h.fighters()
	for _, f := range all {
		if err := h.letIn(ctx, f); err != nil {
			return err
		}
		defer f.sendAway()
	}
	if err := h.watchFight(ctx, all, pick(s, 40*time.Second, 15*time.Second)); err != nil {
		return err
	}
	for _, f := range all {
		if err := h.tellFighter(f, log); err != nil {
			return err
		}
	}
	if err := h.restIsHealed(ctx); err != nil {
		return err
	}
	for _, f := range all {
		f.sendAway()
	}
	return h.peace(ctx)
}

func (h *healing) letIn(ctx context.Context, f *fighter) error {
	if err := h.node.WriteFile(f.file, f.script, 0o755); err != nil {
		return err
	}
	f.cmd = h.node.Command(ctx, f.file)
	return h.node.Start(f.cmd)
}

// sendAway ends a fighter and what it has just started.
func (f *fighter) sendAway() {
	if f.cmd.ProcessState == nil {
		_ = syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL)
		_ = f.cmd.Wait() // it was killed
	}
}

// watchFight asks now and then who fights, and measures what the fight costs the
// agent, asking included.
func (h *healing) watchFight(ctx context.Context, all []*fighter, long time.Duration) error {
	pid, began := h.site.PID(), time.Now()
	used, err := processorTime(pid)
	if err != nil {
		return err
	}
	nameless := func() bool { return slices.ContainsFunc(all, func(f *fighter) bool { return f.named == 0 }) }
	for time.Since(began) < long || nameless() && time.Since(began) < time.Minute {
		sleep(ctx, time.Second)
		if !nameless() {
			continue
		}
		st, err := h.site.Status(ctx)
		if err != nil {
			return err
		}
		for _, f := range all {
			f.seenIn(st, h.network, time.Since(began))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	now, err := processorTime(pid)
	if err != nil {
		return err
	}
	took := time.Since(began)
	share := 100 * (now - used).Seconds() / took.Seconds()
	h.stage.row(result{Name: "the agent's share of a processor over the fight", Value: share, Unit: "%", Aim: "< 1", Met: share < 1,
		Detail: fmt.Sprintf("over %.0f s from its beginning; its checks and probes, once a second, are in it", took.Seconds())})
	return nil
}

// seenIn looks for a fighter in a status.
func (f *fighter) seenIn(st block.Snapshot, network string, after time.Duration) {
	for _, c := range st.Contested {
		if f.named == 0 && c.Network == network && strings.HasPrefix(c.Object, f.kind) && c.Culprit != "" {
			f.named, f.contest = after, c
		}
	}
}

// tellFighter makes the rows about one of them.
func (h *healing) tellFighter(f *fighter, log agentLog) error {
	name := f.file[strings.LastIndexByte(f.file, '/')+1:]
	h.stage.row(result{Name: "named in the status: who fights over a " + f.kind, Value: f.named.Seconds(), Unit: "s", Aim: "<= 60",
		Met:    f.named > 0 && f.named <= time.Minute && strings.Contains(f.contest.Culprit, name),
		Detail: fmt.Sprintf("%s\n%s, %d times", f.contest.Object, f.contest.Culprit, f.contest.Times)})
	lines, err := log.lines(name)
	if err != nil {
		return err
	}
	h.stage.holds("named in the log: who fights over a "+f.kind, len(lines) > 0 && len(lines) < 10,
		strings.Join(append([]string{fmt.Sprintf("%d lines", len(lines))}, lines[:min(1, len(lines))]...), "\n"))
	return nil
}

// restIsHealed takes other things of the same network while the fight goes on.
func (h *healing) restIsHealed(ctx context.Context) error {
	whole := h.want
	defer func() { h.want = whole }()
	h.want = whole.without("rules", "nftables")
	var all []time.Duration
	took, err := h.rounds(ctx, slices.DeleteFunc(slices.Clone(removals), func(r removal) bool {
		return !slices.Contains([]string{"link deleted", "address", "route", "unreachable route"}, r.what)
	}), pick(h.stage, 5, 1))
	if err != nil {
		return err
	}
	for _, t := range took {
		all = append(all, t...)
	}
	h.stage.back("other objects, during the fight", all, byEvent)
	return nil
}

// peace is when the host is whole and no contest is left.
func (h *healing) peace(ctx context.Context) error {
	began := time.Now()
	whole, over := time.Duration(0), time.Duration(0)
	for whole == 0 || over == 0 {
		if time.Since(began) > 3*time.Minute {
			return fmt.Errorf("3 minutes after the fight: whole after %v, no contest after %v (0: not yet)", whole, over)
		}
		if whole == 0 {
			var part string
			if err := h.node.Do(func() error { part, _ = h.differs(h.want); return nil }); err != nil {
				return err
			}
			if part == "" {
				whole = time.Since(began)
			}
		}
		st, err := h.site.Status(ctx)
		if err != nil {
			return err
		}
		if len(st.Contested) == 0 {
			over = time.Since(began)
		}
		sleep(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	h.stage.row(result{Name: "all is back after the fight", Value: whole.Seconds(), Unit: "s", Aim: "<= 60", Met: whole <= time.Minute})
	h.stage.row(result{Name: "the contest is over after the fight", Value: over.Seconds(), Unit: "s", Aim: "<= 90", Met: over <= 90*time.Second})
	return nil
}
