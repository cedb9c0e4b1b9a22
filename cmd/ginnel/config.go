package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels"
)

// load reads a config, and asks the kinds of checks that are here about its
// options.
func load(ctx context.Context, path string) (*config.Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cli.WithHint(err, "ginnel config init GATEWAY NETWORK prints one to start from")
	}
	if err != nil {
		return nil, advise(err)
	}
	kinds, err := offlineKinds(ctx)
	if err != nil {
		return nil, err
	}
	defer kinds.Close()
	return config.ParseWith(path, text, kinds.Validate)
}

func configCheck(ctx context.Context, std cli.IO, args []string) error {
	path, err := one(args, place().Desired())
	if err != nil {
		return err
	}
	c, err := load(ctx, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.Out, "%s: good. %s.\n", path, c.Summary())
	return err
}

func configShow(ctx context.Context, std cli.IO, args []string) error {
	path, err := one(args, place().Desired())
	if err != nil {
		return err
	}
	c, err := load(ctx, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(std.Out, c.Format())
	return err
}

func configInit(_ context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	role := fs.String("role", string(tunnels.Site), "site or hub")
	words, err := cli.Parse(fs, args, 2, 2)
	if err != nil {
		return err
	}
	if r := tunnels.Role(*role); r != tunnels.Site && r != tunnels.Hub {
		return cli.Usagef("--role %q: site or hub", *role)
	}
	_, err = fmt.Fprint(std.Out, config.Minimal(tunnels.Role(*role), words[0], words[1]))
	return err
}

func networkKey(_ context.Context, std cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 1, 1)
	if err != nil {
		return err
	}
	if !identity.ValidName(words[0]) {
		return cli.WithHint(fmt.Errorf("network %q is not a name", words[0]), "lower case letters, digits and hyphens")
	}
	k, err := place().Key(words[0])
	if err != nil {
		return advise(err)
	}
	_, err = fmt.Fprintln(std.Out, k.Public())
	return err
}
