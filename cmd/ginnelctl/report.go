package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
	_ "time/tzdata" // the month is Europe/London's, also where the host has no time zones

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const reportHelp = `
  --month MONTH     such as 2026-11, Europe/London; the last whole one unless given
  --format FORMAT   text, html or json; text unless given
  -o FILE           write it there, not to the terminal
` + desksHelp

// report fetches a report that the collector made.
func report(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	month := flags.String("month", "", "")
	format := flags.String("format", "text", "")
	file := flags.String("o", "", "")
	ids, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"text", "html", "json"}, *format) {
		return cli.Usagef("--format %q is not text, html or json", *format)
	}
	if *month == "" {
		if *month, err = lastMonth(time.Now()); err != nil {
			return err
		}
	} else if _, err := time.Parse("2006-01", *month); err != nil {
		return cli.Usagef("--month %q is not a month such as 2026-11", *month)
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	body, err := c.Report(ctx, ids[0], *month, *format)
	if err != nil {
		return d.advise(err)
	}
	if *file == "" {
		_, err = std.Out.Write(body)
		return err
	}
	return os.WriteFile(*file, body, 0o644)
}

// lastMonth is the last month that is over in the reports' zone.
func lastMonth(now time.Time) (string, error) {
	zone, err := time.LoadLocation(block.Zone)
	if err != nil {
		return "", fmt.Errorf("months: %w", err)
	}
	now = now.In(zone)
	return time.Date(now.Year(), now.Month(), 0, 12, 0, 0, 0, zone).Format("2006-01"), nil
}
