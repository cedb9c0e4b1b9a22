package main

import (
	"cmp"
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
	asJSON := fs.Bool("json", false, "")
	since := fs.String("since", "", "")
	words, err := cli.Parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	if *format != "text" && *format != "json" {
		return cli.Usagef("--format %q: text or json", *format)
	}
	if *asJSON {
		*format = "json"
	}
	switch {
	case len(words) > 0 && *month != "":
		return cli.Usagef("--month is of the whole report; of %s it is --since", words[0])
	case len(words) > 0:
		return historyOf(ctx, std, words[0], cmp.Or(*since, "24h"), *format)
	case *since != "":
		return cli.Usagef("--since is of one check or tunnel: give its NAME; the whole report is of a --month")
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
