package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/audit"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/report"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// reportCommand prints a site's health report from the store itself; the collector
// may run or not.
func reportCommand(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	month := flags.String("month", "", "")
	format := flags.String("format", "text", "")
	words, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	if *month == "" {
		zone, err := time.LoadLocation(block.Zone)
		if err != nil {
			return err
		}
		*month = time.Now().In(zone).Format("2006-01")
	}
	return withStore(ctx, *data, func(st *sqlite.Store) error {
		body, err := report.New(st, nil, slog.New(slog.DiscardHandler)).Write(ctx, words[0], *month, *format)
		if errors.Is(err, store.ErrNotFound) {
			return cli.WithHint(err, "ginnelctl sites lists them")
		}
		if err != nil {
			return err
		}
		_, err = std.Out.Write(body)
		return err
	})
}

// auditCommand prints the log of acts; the collector may run or not.
func auditCommand(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	after := flags.Int64("after", 0, "")
	follow := flags.Bool("follow", false, "")
	if _, err := cli.Parse(flags, args, 0, 0); err != nil {
		return err
	}
	return withStore(ctx, *data, func(st *sqlite.Store) error {
		return audit.Print(ctx, st, std.Out, *after, *follow)
	})
}

// withStore opens a store that is there already.
func withStore(ctx context.Context, data string, use func(*sqlite.Store) error) (err error) {
	file := filepath.Join(data, storeFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return cli.WithHint(fmt.Errorf("no store at %s", file), "it is made when the collector first serves; or --data DIR")
	} else if errors.Is(err, fs.ErrPermission) {
		return cli.WithHint(fmt.Errorf("open store: %w", err), "sudo ginnel-collector, or sudo -u ginnel-collector")
	} else if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	st, err := sqlite.Open(ctx, file, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return use(st)
}
