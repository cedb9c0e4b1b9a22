package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

const (
	greeting = "greeting"                     // the check that is made by a plugin
	checker  = "/run/lab/ginnel-check-banner" // the plugin, at the gateway
	offer    = "/etc/ginnel/checks.d/greeting.toml"
)

// playPlugin watches a check that is made by a program which the gateway's owner
// offers: how it comes back, ends with the agent, and is refused when it was
// changed.
func playPlugin(ctx context.Context, s *stage) error {
	c, program, err := offerBanner(ctx, s)
	if err != nil {
		return err
	}
	defer c.Close()
	bittern := c.Site("bittern")
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	st, err := bittern.Status(ctx)
	k, _ := county.Check(st, greeting)
	s.holds("a check by a plugin is up", err == nil && k.State == checks.Up,
		fmt.Sprintf("%s %s through %s; its program is process %d", k.Kind, k.Target, k.Network, pluginPID()))

	if err := s.pluginKilled(ctx, bittern); err != nil {
		return err
	}
	if err := s.agentKilled(ctx, bittern); err != nil {
		return err
	}
	if err := s.pluginChanged(ctx, bittern, program); err != nil || s.short { // what follows takes its time
		return err
	}
	return s.pluginQuarantined(ctx, bittern, program)
}

// offerBanner builds a county with bittern, whose gateway offers the plugin and
// has a check of its kind.
func offerBanner(ctx context.Context, s *stage) (*county.County, []byte, error) {
	program, err := os.ReadFile(filepath.Join(netns.Bin, filepath.Base(checker)))
	if err != nil {
		return nil, nil, fmt.Errorf("the plugin is not built, make build does it: %w", err)
	}
	plan := county.Whole().Only("bittern")
	plan.Sites[0].Checks = append(plan.Sites[0].Checks, county.CheckPlan{
		Name: greeting, Kind: "banner", Network: "kestrel", Target: records.String() + ":25", StandsFor: "Greeting",
		Options: map[string]string{"expect": "220 "}})
	c, err := buildCounty(ctx, plan, "scenario-"+s.name)
	if err != nil {
		return nil, nil, err
	}
	node := c.Site("bittern").Node
	if err := errors.Join(node.WriteFile(checker, string(program), 0o755), node.WriteFile(offer, offerText(program), 0o644)); err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, program, nil
}

// settled is how long a plugin may live before it is killed again: it must have
// spoken, else it is one that could not be started.
const settled = 500 * time.Millisecond

// pluginKilled kills the plugin once, and then again and again until the check
// shows it: once alone is over before the check runs again.
func (s *stage) pluginKilled(ctx context.Context, at *county.Site) error {
	ctx = within(ctx, 2*time.Minute)
	first := pluginPID()
	began := time.Now()
	if err := killPlugin(ctx); err != nil {
		return err
	}
	next, err := awaitPlugin(ctx)
	if err != nil {
		return err
	}
	back := time.Since(began)
	s.row(result{Name: "plugin there again after kill -9", Value: back.Seconds(), Unit: "s", Aim: "<= 2", Met: back <= 2*time.Second,
		Detail: fmt.Sprintf("process %d, then %d", first, next)})

	kills := 1
	var seen block.CheckSnapshot
	for seen.State != checks.UnknownState {
		if pluginPID() != 0 {
			sleep(ctx, settled)
			if err := killPlugin(ctx); err != nil {
				return err
			}
			kills++
		}
		st, err := at.Status(ctx)
		if err != nil {
			return err
		}
		if seen, _ = county.Check(st, greeting); ctx.Err() != nil {
			return fmt.Errorf("after %d kills the check is %s: %w", kills, seen.State, context.Cause(ctx))
		}
		sleep(ctx, 20*time.Millisecond)
	}
	s.holds("the check is unknown, by a fault of ours, while there is no plugin",
		seen.Reason == string(checks.SelfFault), fmt.Sprintf("after %d kills: %s, %s, %s", kills, seen.State, seen.Reason, seen.Detail))
	took, _, err := at.Await(ctx, county.AllUp)
	if err != nil {
		return err
	}
	s.row(result{Name: "all up again after the last kill", Value: took.Seconds(), Unit: "s", Aim: "<= 60", Met: took <= time.Minute,
		Detail: "the pause before a start doubles with each kill"})
	return nil
}

// agentKilled kills the agent; the kernel ends the plugin.
func (s *stage) agentKilled(ctx context.Context, at *county.Site) error {
	ctx = within(ctx, time.Minute)
	if pluginPID() == 0 {
		return errors.New("there is no plugin before the agent is killed")
	}
	began := time.Now()
	if err := at.Kill9Agent(ctx); err != nil {
		return err
	}
	for pluginPID() != 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	gone := time.Since(began)
	s.row(result{Name: "plugin gone after kill -9 of the agent", Value: ms(gone), Unit: "ms", Aim: "<= 1000",
		Met: pluginPID() == 0 && gone <= time.Second})
	if err := at.StartAgent(); err != nil {
		return err
	}
	took, _, err := at.Await(ctx, func(s block.Snapshot) bool { return county.AllUp(s) && pluginPID() != 0 })
	if err != nil {
		return err
	}
	s.row(result{Name: "all up again with the next agent", Value: took.Seconds(), Unit: "s", Aim: "<= 15", Met: took <= 15*time.Second,
		Detail: fmt.Sprintf("its plugin is process %d", pluginPID())})
	return nil
}

// pluginChanged starts the agent with a program that is not the one that was
// offered, and then puts the right one back.
func (s *stage) pluginChanged(ctx context.Context, at *county.Site, program []byte) error {
	ctx = within(ctx, 2*time.Minute)
	if err := at.StopAgent(ctx); err != nil {
		return err
	}
	if err := replaceFile(at.Node, checker, append(program[:len(program):len(program)], 0)); err != nil {
		return err
	}
	if err := at.StartAgent(); err != nil {
		return err
	}
	_, st, err := at.Await(ctx, func(s block.Snapshot) bool {
		k, ok := county.Check(s, greeting)
		return ok && k.Detail != "" && othersUp(s)
	})
	if err != nil {
		return err
	}
	k, _ := county.Check(st, greeting)
	s.holds("a changed program is not run, and its check says why",
		pluginPID() == 0 && k.State == checks.UnknownState && strings.Contains(k.Detail, "sha256"),
		fmt.Sprintf("%s, %s: %s", k.State, k.Reason, k.Detail))
	s.holds("the rest is up beside it", othersUp(st), fmt.Sprintf("%d tunnel, %d other checks", len(st.Tunnels), len(st.Checks)-1))

	began := time.Now()
	if err := replaceFile(at.Node, checker, program); err != nil {
		return err
	}
	if _, _, err := at.Await(ctx, county.AllUp); err != nil {
		return err
	}
	took := time.Since(began)
	s.row(result{Name: "all up after the right program was put back", Value: took.Seconds(), Unit: "s", Aim: "<= 90",
		Met: took <= 90*time.Second, Detail: "by itself, the agent was not told"})
	return nil
}

// pluginQuarantined offers a program that ends at once, until it is left alone,
// and then the right one.
func (s *stage) pluginQuarantined(ctx context.Context, at *county.Site, program []byte) error {
	ctx = within(ctx, 6*time.Minute)
	const rogue = "#!/bin/sh\nexit 3\n"
	began := time.Now()
	if err := errors.Join(replaceFile(at.Node, checker, []byte(rogue)), at.Node.WriteFile(offer, offerText([]byte(rogue)), 0o644)); err != nil {
		return err
	}
	_, st, err := at.Await(ctx, func(s block.Snapshot) bool {
		k, ok := county.Check(s, greeting)
		return ok && strings.HasPrefix(k.Detail, checks.QuarantinePrefix)
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.row(result{Name: "a program that ends at once is quarantined", Value: took.Seconds(), Unit: "s", Aim: "<= 180", Met: took <= 3*time.Minute,
		Detail: "after ten ends; the pause before a start doubles"})
	k, _ := county.Check(st, greeting)
	s.holds("its check says so, with a code, and the rest is up", k.Code == string(why.Quarantined) && othersUp(st),
		fmt.Sprintf("%s %s: %s", k.Code, k.State, k.Detail))

	began = time.Now()
	if err := errors.Join(replaceFile(at.Node, checker, program), at.Node.WriteFile(offer, offerText(program), 0o644)); err != nil {
		return err
	}
	if _, _, err := at.Await(ctx, county.AllUp); err != nil {
		return err
	}
	took = time.Since(began)
	s.row(result{Name: "all up after the right program was offered", Value: took.Seconds(), Unit: "s", Aim: "<= 30", Met: took <= 30*time.Second,
		Detail: "by its offer alone, the agent was not told"})
	return nil
}

// offerText is an offer of a program.
func offerText(program []byte) string {
	return fmt.Sprintf("kind   = \"banner\"\npath   = %q\nsha256 = \"%x\"\n", checker, sha256.Sum256(program))
}

// othersUp reports whether everything but the plugin's check is up.
func othersUp(s block.Snapshot) bool {
	for _, t := range s.Tunnels {
		if t.State != checks.Up {
			return false
		}
	}
	for _, k := range s.Checks {
		if k.Name != greeting && k.State != checks.Up {
			return false
		}
	}
	return len(s.Tunnels) > 0
}

// pluginPID finds the plugin's process in the box; 0: there is none that runs.
func pluginPID() int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		// A process that has ended and is not buried yet has no arguments.
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), checker+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil {
			return pid
		}
	}
	return 0
}

// awaitPlugin waits until it runs.
func awaitPlugin(ctx context.Context) (int, error) {
	for {
		if pid := pluginPID(); pid != 0 {
			return pid, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the plugin does not run: %w", context.Cause(ctx))
		}
		time.Sleep(time.Millisecond)
	}
}

// killPlugin kills it and waits until it is gone.
func killPlugin(ctx context.Context) error {
	pid, err := awaitPlugin(ctx)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing the plugin: %w", err)
	}
	for pluginPID() == pid && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// replaceFile puts a program in another's place, as a package does.
func replaceFile(n *netns.Node, path string, program []byte) error {
	next := path + ".new"
	if err := n.WriteFile(next, string(program), 0o755); err != nil {
		return err
	}
	return n.Do(func() error { return os.Rename(next, path) })
}
