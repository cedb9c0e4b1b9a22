package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const freezeHelp = `
  --until WHEN      "2026-12-27", "2026-12-27 08:00", or from now: 48h
  --why TEXT        which everybody is told
  --off             end it
` + desksHelp + `
While it is frozen no rollout gives a gateway a new config; trials that run go on.
"ginnelctl rollout back" and lists of what is shut out pass. Without a flag it
tells how things stand.`

// freeze keeps rollouts from going on, and lets them.
func freeze(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	until, why, off := flags.String("until", "", ""), flags.String("why", "", ""), flags.Bool("off", false, "")
	if _, err := cli.Parse(flags, args, 0, 0); err != nil {
		return err
	}
	now := time.Now()
	var want *centre.Freeze
	switch {
	case *off && (*until != "" || *why != ""):
		return cli.Usagef("--off stands alone")
	case *off:
		want = &centre.Freeze{}
	case *until != "":
		end, err := parseWhen(*until, now)
		if err != nil {
			return cli.Usagef("--until %v", err)
		}
		if *why == "" {
			return cli.Usagef("--why is missing: everybody who pushes will read it")
		}
		want = &centre.Freeze{Until: end, Why: *why}
	case *why != "":
		return cli.Usagef("--until is missing: a freeze without an end is forgotten")
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	f, err := c.Freeze(ctx)
	if want != nil {
		f, err = c.SetFreeze(ctx, *want)
	}
	if err != nil {
		return d.advise(err)
	}
	if !f.Until.After(now) {
		_, err = fmt.Fprintln(std.Out, "Nothing is frozen.")
		return err
	}
	_, err = io.WriteString(std.Out, frozen(f, now)+"End it: ginnelctl freeze --off\n")
	return err
}

// frozen tells of a freeze; empty: it is over.
func frozen(f centre.Freeze, now time.Time) string {
	if !f.Until.After(now) {
		return ""
	}
	return fmt.Sprintf("Frozen until %s by %s: %s\n", f.Until.In(now.Location()).Format("Mon 2 Jan 15:04"), cli.Printable(f.By), cli.Printable(f.Why))
}

// parseWhen reads a day, a day with an hour (by the clock here), a time of RFC
// 3339, or how long from now; it must lie ahead.
func parseWhen(text string, now time.Time) (time.Time, error) {
	var at time.Time
	if d, err := time.ParseDuration(text); err == nil {
		at = now.Add(d)
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			at = t
		}
	}
	switch {
	case at.IsZero():
		return at, fmt.Errorf("%q is no time: write 2026-12-27, \"2026-12-27 08:00\" or 48h", text)
	case !at.After(now):
		return at, fmt.Errorf("%q is over", text)
	}
	return at.UTC().Truncate(time.Second), nil
}
