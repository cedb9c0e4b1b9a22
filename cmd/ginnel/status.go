package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func status(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	watch := fs.Bool("watch", false, "")
	wait := fs.Duration("wait", 0, "")
	if _, err := cli.Parse(fs, args, 0, 0); err != nil {
		return err
	}
	show := textStatus
	if *asJSON {
		show = jsonStatus
	}
	if *watch {
		return watchStatus(ctx, std, show)
	}
	s, err := waitForUp(ctx, *wait)
	if err != nil {
		return &cli.Exit{Code: noAnswer, Err: advise(err)}
	}
	if err := show(std.Out, s); err != nil {
		return err
	}
	if code := exitCode(s.State); code != 0 {
		return &cli.Exit{Code: code}
	}
	return nil
}

// noAnswer is the exit code where the agent could not be asked: 1 and 2 are
// answers.
const noAnswer = 3

func textStatus(w io.Writer, s block.Snapshot) error {
	var page bytes.Buffer
	writeStatus(&page, s, time.Now(), time.Local)
	_, err := w.Write(page.Bytes())
	return err
}

func jsonStatus(w io.Writer, s block.Snapshot) error {
	return writeJSON(w, s)
}

// waitForUp asks until the gateway is up or the time has passed, and gives the
// last answer. Without a time it asks once.
func waitForUp(ctx context.Context, limit time.Duration) (block.Snapshot, error) {
	deadline := time.Now().Add(limit)
	for {
		s, err := client().Snapshot(ctx)
		if err == nil && exitCode(s.State) == 0 || time.Now().After(deadline) {
			return s, err
		}
		if err != nil && !errors.Is(err, local.ErrNotRunning) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// watchStatus prints again and again, each time over the last on a terminal.
func watchStatus(ctx context.Context, std cli.IO, show func(io.Writer, block.Snapshot) error) error {
	over := ""
	if f, ok := std.Out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		over = "\x1b[H\x1b[2J"
	}
	for {
		var page bytes.Buffer
		s, err := client().Snapshot(ctx)
		switch {
		case errors.Is(err, local.ErrNotRunning):
			fmt.Fprintln(&page, err)
		case err != nil:
			return &cli.Exit{Code: noAnswer, Err: advise(err)}
		default:
			if err := show(&page, s); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(std.Out, "%s%s", over, page.Bytes()); err != nil {
			return nil // nobody looks any more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
