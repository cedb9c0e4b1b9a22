package main

import (
	"context"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// history prints this gateway's own report of a month, or the course of one
// check, with no need of the centre: the same numbers that the centre has of the
// same blocks.
func history(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	month := fs.String("month", "", "")
	format := fs.String("format", "text", "")
	since := fs.String("since", "24h", "")
	words, err := cli.Parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	if *format != "text" && *format != "json" {
		return cli.Usagef("--format %q: text or json", *format)
	}
	if len(words) > 0 {
		return historyOf(ctx, std, words[0], *since, *format)
	}
	if *month == "" {
		zone, err := time.LoadLocation(block.Zone)
		if err != nil {
			return err
		}
		*month = time.Now().In(zone).Format("2006-01")
	}
	r, err := client().Report(ctx, *month)
	if err != nil {
		return advise(err)
	}
	if *format == "json" {
		return r.JSON(std.Out)
	}
	return r.Text(std.Out)
}
