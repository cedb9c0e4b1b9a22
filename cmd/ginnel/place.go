package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// place is where this gateway's files are: below GINNEL_ROOT, which tests set.
func place() agent.Paths { return agent.DefaultPaths(os.Getenv("GINNEL_ROOT")) }

func client() local.Client { return local.Client{Path: place().Socket()} }

// advise adds what to do to the errors that everybody meets.
func advise(err error) error {
	switch {
	case errors.Is(err, local.ErrNotRunning):
		return &cli.Exit{Code: 3, Err: cli.WithHint(err, "systemctl start ginnel, or: sudo ginnel run")}
	case errors.Is(err, local.ErrForbidden):
		return cli.WithHint(err, "put sudo before it, or join the group "+local.Group)
	case hinted(err):
		return err
	case errors.Is(err, fs.ErrPermission):
		return cli.WithHint(err, "as root: put sudo before it")
	}
	return err
}

// hinted says whether somebody who knew more has said already what to do.
func hinted(err error) bool {
	var h interface{ Hint() string }
	return errors.As(err, &h) && h.Hint() != ""
}

func printVersion(_ context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.Out, "ginnel %s\n", version)
	return err
}

// one parses a command without flags that takes at most one word.
func one(args []string, otherwise string) (string, error) {
	words, err := cli.Parse(cli.Flags(), args, 0, 1)
	if err != nil {
		return "", err
	}
	if len(words) == 0 {
		return otherwise, nil
	}
	return words[0], nil
}
