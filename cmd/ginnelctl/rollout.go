package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// stopped is the exit code of what waits for a rollout that did not go through:
// paused, ended early, gone back, or with gateways on which it failed.
const stopped = 3

const rolloutHelp = `
  --json            for programs
  --wait            until it is through, or stops
` + desksHelp + `
Without an ID the newest. Exit 3: it is paused, was ended or taken back, or
failed somewhere; 0 otherwise.`

const moveHelp = desksHelp + `
Without an ID the one that is on its way. "pause" begins no more trials, and
"resume" goes on; "abort" ends it, and what is applied stays; "back" gives every
gateway that took it its old config again, signed at the push: it needs no key.`

// rolloutStatus shows where a rollout stands.
func rolloutStatus(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	asJSON, wait := flags.Bool("json", false, ""), flags.Bool("wait", false, "")
	ids, err := cli.Parse(flags, args, 0, 1)
	if err != nil {
		return err
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	id, err := theRollout(ctx, c, ids, func(centre.Rollout) bool { return true })
	if err != nil {
		return d.advise(err)
	}
	if *wait {
		return d.advise(follow(ctx, std, c, id))
	}
	r, err := c.Rollout(ctx, id)
	if err != nil {
		return d.advise(err)
	}
	if *asJSON {
		err = writeJSON(std, r)
	} else {
		_, err = io.WriteString(std.Out, rolloutText(r, time.Now()))
	}
	return cmp.Or(err, outcome(r))
}

// mover is the command of a move.
func mover(m centre.Move) func(context.Context, cli.IO, []string) error {
	return func(ctx context.Context, std cli.IO, args []string) error {
		var d desk
		flags := cli.Flags()
		d.flags(flags)
		ids, err := cli.Parse(flags, args, 0, 1)
		if err != nil {
			return err
		}
		c, err := d.client()
		if err != nil {
			return err
		}
		// The newest may be taken back after it is through; the rest needs
		// one that is on its way.
		id, err := theRollout(ctx, c, ids, func(r centre.Rollout) bool { return m == centre.MoveBack || onItsWay(r) })
		if err != nil {
			return d.advise(err)
		}
		r, err := c.MoveRollout(ctx, id, m)
		if err != nil {
			return d.advise(err)
		}
		_, err = fmt.Fprintf(std.Out, "rollout %s, %s: %s\n", r.ID, r.Name, stateText(r))
		return err
	}
}

func onItsWay(r centre.Rollout) bool {
	return r.State == centre.RolloutRunning || r.State == centre.RolloutPaused || r.State == centre.RolloutBack
}

// theRollout is the one that is named, or the newest that fits.
func theRollout(ctx context.Context, c *centre.Client, ids []string, fits func(centre.Rollout) bool) (string, error) {
	if len(ids) > 0 {
		return ids[0], nil
	}
	all, err := c.Rollouts(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", cli.WithHint(errors.New("nothing was pushed yet"), "ginnelctl push")
	}
	if i := slices.IndexFunc(all, fits); i >= 0 {
		return all[i].ID, nil
	}
	return "", cli.WithHint(fmt.Errorf("no rollout is on its way: the last one, %s, is %s", all[0].ID, all[0].State), "ginnelctl rollout status")
}

// outcome is the exit code of a rollout.
func outcome(r centre.Rollout) error {
	failed := slices.ContainsFunc(r.Rings, func(ring centre.RingState) bool { return ring.Failed > 0 || ring.Worse > 0 })
	if r.State == centre.RolloutPaused || r.State == centre.RolloutAborted || r.State == centre.RolloutBack ||
		r.State == centre.RolloutUndone || failed {
		return &cli.Exit{Code: stopped}
	}
	return nil
}

// stateText is where a rollout stands, in words.
func stateText(r centre.Rollout) string {
	text := string(r.State)
	switch r.State {
	case centre.RolloutUndone:
		text = "taken back"
	case centre.RolloutAborted:
		text = "ended early; what is applied stays"
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Waits != "" && onItsWay(r) {
		text += "; waits: " + r.Waits
	}
	return text
}

// rolloutText is a rollout as a table of its rings, and what went wrong.
func rolloutText(r centre.Rollout, now time.Time) string {
	var b strings.Builder
	all := 0
	for _, ring := range r.Rings {
		all += ring.All
	}
	fmt.Fprintf(&b, "rollout %s, %s, to %d gateways, by %s since %s\n", r.ID, r.Name, all, cmp.Or(r.By, "somebody"), clock(r.Began, now, now.Location()))
	b.WriteString(cli.Wrap(stateText(r), width, "    ") + "\n\n")
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "RING\tGATEWAYS\tAPPLIED\tTRYING\tHELD\tFAILED\tOFFLINE\tWORSE\t")
	for _, ring := range r.Rings {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", ring.Name, ring.All, ring.Applied, ring.Applying, ring.Unconfirmed, ring.Failed, ring.Offline, ring.Worse)
	}
	tw.Flush() // a Builder takes everything
	for line := range strings.Lines(table.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	b.WriteString(troubles(r.Gateways))
	return cli.Printable(b.String())
}

// mostTroubles is how many gateways are told of on a screen.
const mostTroubles = 8

// troubles tells of gateways on which a push failed, is held or made worse.
func troubles(gateways []centre.PushState) string {
	var lines []string
	for _, g := range gateways {
		if text := trouble(g); text != "" {
			head := fmt.Sprintf("  %-10s ", g.Gateway)
			lines = append(lines, wrap(head, text))
			for _, e := range g.Evidence {
				lines[len(lines)-1] += wrap(strings.Repeat(" ", len(head))+"  ", e)
			}
		}
	}
	if lines == nil {
		return ""
	}
	more := ""
	if n := len(lines); n > mostTroubles {
		lines, more = lines[:mostTroubles], fmt.Sprintf("  and %d more: --json\n", n-mostTroubles)
	}
	return "\nLook at these\n" + strings.Join(lines, "") + more
}

func trouble(g centre.PushState) string {
	text := ""
	switch g.State {
	case "failed":
		text = "failed, and went back"
	case "unconfirmed":
		text = "held, unconfirmed"
	}
	if text != "" && g.Reason != "" {
		text += ": " + g.Reason
	}
	if g.Worse != "" {
		text = strings.TrimPrefix(text+"; got worse: "+g.Worse, "; ")
	}
	return text
}

// look is how often a rollout that is followed is looked at.
const look = time.Second

// follow shows a rollout until it is through or stops: on a terminal as a table
// that is drawn anew, elsewhere a line for each change. It only looks: when ctx
// ends, the rollout goes on.
func follow(ctx context.Context, std cli.IO, c *centre.Client, id string) error {
	f := follower{out: std.Out, told: map[string]string{}}
	if file, ok := std.Out.(*os.File); ok {
		f.terminal = term.IsTerminal(int(file.Fd()))
	}
	lost := 0
	for {
		r, err := c.Rollout(ctx, id)
		switch {
		case ctx.Err() != nil:
			_, err := fmt.Fprintf(std.Out, "\nThe rollout goes on without this. See it: ginnelctl rollout status --wait\nStop it: ginnelctl rollout pause\n")
			return err
		case err != nil:
			if lost++; lost > 30 || isRefusal(err) {
				return err
			}
		default:
			lost = 0
			if err := f.show(r, time.Now()); err != nil {
				return err
			}
			if !onItsWay(r) || r.State == centre.RolloutPaused {
				return outcome(r)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

// isRefusal says whether asking again is of no use.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*centre.Error](err)
	return ok && e.Status < 500
}

type follower struct {
	out      io.Writer
	terminal bool
	lines    int               // drawn before
	told     map[string]string // by ring, gateway, or empty for the whole
}

func (f *follower) show(r centre.Rollout, now time.Time) error {
	if f.terminal {
		text := rolloutText(r, now)
		up := ""
		if f.lines > 0 {
			up = fmt.Sprintf("\x1b[%dA\x1b[J", f.lines)
		}
		f.lines = strings.Count(text, "\n")
		_, err := io.WriteString(f.out, up+text)
		return err
	}
	say := func(what, text string) error {
		if f.told[what] == text {
			return nil
		}
		f.told[what] = text
		_, err := fmt.Fprintf(f.out, "%s  %s\n", now.Format("15:04:05"), cli.Printable(text))
		return err
	}
	var errs []error
	for _, ring := range r.Rings {
		if text := ringText(ring); text != "" {
			errs = append(errs, say("ring "+ring.Name, ring.Name+": "+text))
		}
	}
	for _, g := range r.Gateways {
		if text := trouble(g); text != "" {
			errs = append(errs, say("gateway "+g.Gateway, g.Gateway+" "+text))
		}
	}
	return errors.Join(append(errs, say("", "rollout "+r.ID+" is "+stateText(r)))...)
}

// ringText is one ring in words; empty while nothing has happened in it.
func ringText(ring centre.RingState) string {
	parts := []string{fmt.Sprintf("%d of %d applied", ring.Applied, ring.All)}
	for _, c := range []struct {
		n    int
		what string
	}{{ring.Applying, "trying"}, {ring.Unconfirmed, "held"}, {ring.Failed, "failed"}, {ring.Offline, "offline"}, {ring.Worse, "worse"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 1 && ring.Applied == 0 {
		return ""
	}
	return strings.Join(parts, ", ")
}
