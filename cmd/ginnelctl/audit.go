package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const auditHelp = `
  -n N              the last N acts; 50 unless given, 0 for all
  --after ID        those after this one
  --json            one JSON object a line, as the collector exports them
` + desksHelp

// page is how many acts are asked for at once.
const page = 500

// audit prints the log of acts, the oldest first.
func audit(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	last, after, asJSON := flags.Int("n", 50, ""), flags.Int64("after", 0, ""), flags.Bool("json", false, "")
	if _, err := cli.Parse(flags, args, 0, 0); err != nil {
		return err
	}
	if *last < 0 {
		return cli.Usagef("-n %d is less than nothing", *last)
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	var acts []centre.Act
	for next := *after; ; {
		some, err := c.Audit(ctx, next, page)
		if err != nil {
			return d.advise(err)
		}
		if acts = append(acts, some...); *last > 0 && len(acts) > *last {
			acts = append(acts[:0:0], acts[len(acts)-*last:]...)
		}
		if len(some) == 0 || some[len(some)-1].ID <= next {
			break
		}
		next = some[len(some)-1].ID
	}
	return writeActs(std, acts, *asJSON, time.Now())
}

func writeActs(std cli.IO, acts []centre.Act, asJSON bool, now time.Time) error {
	e := json.NewEncoder(std.Out)
	for _, a := range acts {
		if asJSON {
			if err := e.Encode(a); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprint(std.Out, actText(a, now)); err != nil {
			return err
		}
	}
	return nil
}

// actText is one act on a line: when, who, from where, what; below it what was
// and what is.
func actText(a centre.Act, now time.Time) string {
	who := a.Actor
	if a.From != "" {
		who += " (" + a.From + ")"
	}
	what := strings.TrimSpace(a.Act + " " + a.Object)
	if a.Detail != "" {
		what += ": " + a.Detail
	}
	line := wrap(fmt.Sprintf("%6d  %s  ", a.ID, a.At.In(now.Location()).Format("2006-01-02 15:04:05")), cli.Printable(who+"  "+what))
	for _, v := range []struct{ name, value string }{{"old", a.Old}, {"new", a.New}} {
		if v.value != "" {
			line += wrap("        "+v.name+"  ", cli.Printable(v.value))
		}
	}
	return line
}
