package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/trust"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// unconfirmed is the exit code of a config that runs, and nobody could tell yet.
const unconfirmed = 2

// apply tries a signed config from a file.
func apply(ctx context.Context, std cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 1, 1)
	if err != nil {
		return err
	}
	raw, err := readBundle(words[0])
	if err != nil {
		return err
	}
	held := false
	err = client().Apply(ctx, raw, func(p local.Progress) {
		held = p.Step == "held"
		fmt.Fprintf(std.Out, "%-9s %s\n", p.Step, cli.Wrap(p.Text, cli.Width-11, "          "))
	})
	if err != nil && held {
		return &cli.Exit{Code: unconfirmed, Err: err}
	}
	return advise(err)
}

// rollback goes back to the config before.
func rollback(ctx context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	if err := client().Rollback(ctx); err != nil {
		return advise(err)
	}
	_, err := fmt.Fprintln(std.Out, "The config before runs, until the centre sends a newer one. ginnel status shows which.")
	return err
}

// readBundle reads no more of a file than a bundle can have.
func readBundle(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > bundle.MaxSize {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", file, bundle.ErrTooLarge, info.Size(), bundle.MaxSize)
	}
	return os.ReadFile(file)
}

// configFor reads the config of a file: a signed one is judged as the agent
// would. Without a file it is the one that is to run here.
func configFor(ctx context.Context, file string) (*config.Config, error) {
	paths := place()
	if file == "" {
		c, _, err := wanted(ctx)
		return c, err
	}
	raw, err := readBundle(file)
	if errors.Is(err, fs.ErrNotExist) {
		return load(ctx, file) // which says what to do
	}
	if err != nil {
		return nil, err
	}
	if _, err := bundle.Parse(raw); errors.Is(err, bundle.ErrUnsigned) {
		return load(ctx, file)
	}
	believed, err := trusted(paths)
	if err != nil {
		return nil, err
	}
	o, err := believed.Judge(raw, gatewayHere(ctx))
	if err != nil {
		return nil, err
	}
	return believed.Apply(o.Config), nil
}

// wanted is the config that is to run here, and where it is from.
func wanted(ctx context.Context) (c *config.Config, from string, err error) {
	paths := place()
	c, unknown := pushed(paths)
	if unknown == nil {
		return c, fmt.Sprintf("generation %d, of the centre", c.Generation), nil
	}
	c, err = load(ctx, paths.Desired())
	if errors.Is(err, fs.ErrNotExist) && errors.Is(unknown, fs.ErrPermission) {
		err = advise(unknown) // there may be one of the centre
	}
	return c, paths.Desired(), err
}

// pushed is the config that runs here where the centre sends it.
func pushed(paths agent.Paths) (*config.Config, error) {
	believed, err := trusted(paths)
	if err != nil {
		return nil, err
	}
	if believed.Mark() == 0 {
		return nil, fs.ErrNotExist
	}
	return paths.Boots()
}

// trusted is whom and what this gateway believes.
func trusted(paths agent.Paths) (*trust.Trust, error) {
	id, err := identity.Open(paths.Identity())
	if err != nil {
		return nil, err
	}
	return trust.Open(paths.Trust(), id.Signers())
}
