package main

import (
	"context"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// history prints this gateway's own report of a month, with no need of the
// centre: the same numbers that the centre has of the same blocks.
func history(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	month := fs.String("month", "", "")
	format := fs.String("format", "text", "")
	if _, err := cli.Parse(fs, args, 0, 0); err != nil {
		return err
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
	switch *format {
	case "text":
		return r.Text(std.Out)
	case "json":
		return r.JSON(std.Out)
	}
	return cli.Usagef("--format %q: text or json", *format)
}
