package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// What the story's chapters have in common.

// shownKey finds a network's key in a plan, and how a person compares it.
var shownKey = regexp.MustCompile(`(?m)^  (?:new key|changed) +\S+ (\S+) +([A-Z]{4}-\d\d-[A-Z]{4}-\d\d)\b`)

// compareFingerprints makes a plan and looks whether each key that it shows as new
// or changed was on a technician's screen.
func (t *tale) compareFingerprints(ctx context.Context, keys int, plan string) error {
	said, err := t.c.Collector.Desk(ctx, strings.Fields(plan)...)
	if f, ok := errors.AsType[*netns.Failure](err); err != nil && (!ok || f.Code != 2) { // 2: there are changes
		return fmt.Errorf("%w\n%s", err, said)
	}
	var same, strange []string
	for _, m := range shownKey.FindAllStringSubmatch(said, -1) {
		switch {
		case m[1] == "device": // no technician reads that one
		case strings.Contains(t.screens, m[2]):
			same = append(same, m[2])
		default:
			strange = append(strange, m[2]+" is on no screen")
		}
	}
	t.row(result{Name: fmt.Sprintf("fingerprints on technicians' screens that the plan shows: %s", strings.TrimPrefix(plan, "ginnelctl ")), Value: float64(len(same)),
		Unit: "keys", Aim: fmt.Sprint(keys), Met: len(same) == keys && len(strange) == 0, Detail: strings.Join(append(strange, same...), " ")})
	return nil
}

// enrol is a pack from the desk, and what the technician does with it.
func (t *tale) enrol(ctx context.Context, a *county.Agent) error {
	pack, err := t.c.PackFor(ctx, a.Name)
	if err != nil {
		return err
	}
	screen, err := a.EnrolAloud(ctx, pack)
	if err != nil {
		return err
	}
	t.screens += screen
	return t.c.AwaitProofs(within(ctx, 30*time.Second), 1, a.Name)
}

// push is a push that is good. In the short form nobody waits to see whether
// something gets worse.
func (t *tale) push(ctx context.Context, args ...string) error {
	if t.short {
		args = append([]string{"--no-rings"}, args...)
	}
	_, err := t.c.Push(ctx, args...)
	return err
}

// desk does commands as they are typed, until one fails.
func (t *tale) desk(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if said, err := t.c.Collector.Desk(ctx, "sh", "-c", line); err != nil {
			return fmt.Errorf("%w\n%s", err, said)
		}
	}
	return nil
}

// allUp waits until all is up at these sites.
func (t *tale) allUp(ctx context.Context, when string, sites ...string) error {
	for _, name := range sites {
		if _, _, err := t.c.Site(name).Await(within(ctx, time.Minute), county.AllUp); err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
	}
	t.holds(when+": "+strings.Join(sites, ", "), true, "")
	return nil
}

// running is the hash of what each gateway says that it runs.
func (t *tale) running(ctx context.Context) (map[string]string, error) {
	all, err := t.api.Fleet(ctx)
	hashes := map[string]string{}
	for _, g := range all {
		hashes[g.Name] = g.Running.Hash
	}
	return hashes, err
}

// newest is the last push, with its gateways.
func (t *tale) newest(ctx context.Context) (centre.Rollout, error) {
	all, err := t.api.Rollouts(ctx)
	if err != nil || len(all) == 0 {
		return centre.Rollout{}, errors.Join(err, errors.New("nothing was pushed"))
	}
	return t.api.Rollout(ctx, all[0].ID)
}

// chapters does one after the other until one fails.
func chapters(ctx context.Context, all ...func(context.Context) error) error {
	for _, chapter := range all {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}
