package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/trust"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels"
)

// load reads a config, alone or in a bundle, and asks the kinds of checks that
// are here about its options.
func load(ctx context.Context, path string) (*config.Config, error) {
	text, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Parse(text)
	switch {
	case err == nil:
		text = b.Text
	case !errors.Is(err, bundle.ErrUnsigned):
		return nil, cli.WithHint(fmt.Errorf("%s: %w", path, err), "copy it again")
	}
	kinds, err := offlineKinds(ctx)
	if err != nil {
		return nil, err
	}
	defer kinds.Close()
	return config.ParseWith(path, text, kinds.Validate)
}

func configCheck(ctx context.Context, std cli.IO, args []string) error {
	path, err := one(args, "")
	if err != nil {
		return err
	}
	if path == "" {
		c, from, err := wanted(ctx)
		if err == nil {
			_, err = fmt.Fprintf(std.Out, "%s: good. %s.\n", from, c.Summary())
		}
		return err
	}
	c, err := load(ctx, path)
	if err != nil {
		return err
	}
	signed, err := signature(path, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.Out, "%s: good. %s.\n%s", path, c.Summary(), signed)
	return err
}

// readConfig reads a config's file, of which a first one may have none.
func readConfig(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cli.WithHint(err, "ginnel config init GATEWAY NETWORK prints one to start from")
	}
	return text, advise(err)
}

// signature says who signed a bundle, and, on an enrolled gateway, whether it
// would be accepted here; nothing of a config that is no bundle.
func signature(path string, c *config.Config) (string, error) {
	raw, err := readConfig(path)
	if err != nil {
		return "", err
	}
	b, err := bundle.Parse(raw)
	if err != nil {
		return "", nil // load has refused what is half a bundle
	}
	by, err := b.Claimed(bundle.Config)
	if err != nil {
		return "", cli.WithHint(fmt.Errorf("%s: %w", path, err), "take it anew from who signed it")
	}
	said := fmt.Sprintf("Generation %d, signed by %s", c.Generation, by.Fingerprint())
	paths := place()
	id, err := identity.Open(paths.Identity())
	if err != nil {
		return "", advise(err)
	}
	if !id.Enrolled() {
		return said + ".\nWhether that is accepted, an enrolled gateway can tell.\n", nil
	}
	believed, err := trust.Open(paths.Trust(), id.Signers())
	if err != nil {
		return "", advise(err)
	}
	o, err := believed.Judge(raw, id.Site().Gateway)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s): accepted here.\n", said, o.By.Name), nil
}

func configShow(ctx context.Context, std cli.IO, args []string) error {
	path, err := one(args, "")
	if err != nil {
		return err
	}
	var c *config.Config
	if path == "" {
		c, path, err = wanted(ctx)
	} else {
		c, err = load(ctx, path)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(std.Err, path) // scripts read the config alone
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
	public := k.Public()
	// The fingerprint is for the telephone; scripts read the key alone.
	fmt.Fprintf(std.Err, "fingerprint %s\n", identity.Fingerprint(public[:]))
	_, err = fmt.Fprintln(std.Out, public)
	return err
}
