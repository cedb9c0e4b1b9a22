package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
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

// fight lets the fighters in, one after the other, watches, and sends them away.
// The first is alone while the agent's cost is measured.
func (h *healing) fight(ctx context.Context) error {
	s := h.stage
	if err := h.slowDown(ctx); err != nil {
		return err
	}
	log, err := s.logFromHere(h.site)
	if err != nil {
		return err
	}
	if h.idle, err = busy(h.site.PID(), func() error { sleep(ctx, pick(s, 30*time.Second, 5*time.Second)); return nil }); err != nil {
		return err
	}
	all := h.fighters()
	for i, f := range all {
		if err := h.letIn(ctx, f); err != nil {
			return err
		}
		defer f.sendAway()
		if err := h.watchFight(ctx, f, i == 0); err != nil {
			return err
		}
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

// hurried are the lines of the lab's config that have checks run and tunnels
// probed each second.
var hurried = regexp.MustCompile(`(?m)^(probe_)?(interval|timeout) +=.*\n`)

// slowDown has the agent check and probe as often as it does by default: what it
// spends on that in the lab would hide what the fight costs.
func (h *healing) slowDown(ctx context.Context) error {
	text, err := h.node.ReadFile("/etc/ginnel/desired.toml")
	if err != nil {
		return err
	}
	if err := h.site.Configure(hurried.ReplaceAllString(text, "")); err != nil {
		return err
	}
	if _, err := h.node.Run(ctx, "ginnel", "reload"); err != nil {
		return err
	}
	return h.site.AwaitPlanned(within(ctx, hopelessly))
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

// watchFight asks now and then who fights, until that is known; with cost it goes
// on for a while, and measures what the fight costs the agent.
func (h *healing) watchFight(ctx context.Context, f *fighter, cost bool) error {
	began := time.Now()
	long := pick(h.stage, time.Minute, 15*time.Second)
	share, err := busy(h.site.PID(), func() error {
		for cost && time.Since(began) < long || f.named == 0 && time.Since(began) < time.Minute {
			sleep(ctx, time.Second)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if f.named > 0 {
				continue
			}
			st, err := h.site.Status(ctx)
			if err != nil {
				return err
			}
			f.seenIn(st, h.network, time.Since(began))
		}
		return nil
	})
	if err == nil && cost {
		h.tellCost(share, time.Since(began))
	}
	return err
}

// tellCost makes the row of what the fight cost the agent. Its beginning costs
// most, so the short form does not tell a share: what it uses is to be within 1 %
// of the minute in which the fighter has to be named.
func (h *healing) tellCost(share float64, took time.Duration) {
	used := share / 100 * took.Seconds()
	detail := fmt.Sprintf("%.2f s of it over %.0f s from the beginning of the fight; %.2f %% before it", used, took.Seconds(), h.idle)
	r := result{Name: "the agent's share of a processor over the fight", Value: share, Unit: "%", Beside: &h.idle, Aim: "< 1", Met: share < 1, Detail: detail}
	if h.stage.short {
		r = result{Name: "processor time of the agent as the fight begins", Value: used, Unit: "s", Aim: "< 0.6", Met: used < 0.6, Detail: detail}
	}
	h.stage.row(r)
}

// busy is how much of a processor a process used while f ran, in percent.
func busy(pid int, f func() error) (float64, error) {
	began := time.Now()
	before, err := processorTime(pid)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := processorTime(pid)
	return 100 * (after - before).Seconds() / time.Since(began).Seconds(), err
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

// truce is how long an agent sees nobody fight until it takes that for peace.
const truce = 2 * time.Minute

// peace is when the host is whole; and, in the full form, when the agent no longer
// speaks of a contest.
func (h *healing) peace(ctx context.Context) error {
	began := time.Now()
	err := h.node.Do(func() error {
		took, err := h.await(h.want, began)
		h.stage.row(result{Name: "all is back after the fight", Value: took.Seconds(), Unit: "s", Aim: "<= 30", Met: err == nil})
		return err
	})
	if err != nil || h.stage.short {
		return err
	}
	aim := truce + 30*time.Second
	_, _, err = h.site.Await(within(ctx, 2*aim), func(st block.Snapshot) bool { return len(st.Contested) == 0 })
	took := time.Since(began)
	h.stage.row(result{Name: "no contest in the status any more", Value: took.Seconds(), Unit: "s",
		Aim: fmt.Sprintf("<= %g", aim.Seconds()), Met: err == nil && took <= aim})
	return err
}
