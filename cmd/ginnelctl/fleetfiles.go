package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/signing"
)

const initHelp = `
  --signer FILE   a public key that may sign pushes; once for each. Without it:
                  those in ~/.ssh and in the ssh-agent
It makes a small fleet of one invented hub and site, to be changed, and replaces
nothing that is there.`

const validateHelp = `
DIR is the folder of the fleet, here unless given. Every mistake of all files is
told at once, by file, line and cell. Nothing is written and nobody is asked.`

const showHelp = `
  --fleet DIR     the folder of the fleet; here unless given
Which rows it came from stands above it, as comments. It has no generation yet:
a push gives one.`

// initFleet makes a small fleet to start from.
func initFleet(ctx context.Context, std cli.IO, args []string) error {
	var keys words
	flags := cli.Flags()
	flags.Var(&keys, "signer", "")
	dirs, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	signers, err := firstSigners(ctx, keys)
	if err != nil {
		return err
	}
	made, err := fleet.Init(dirs[0], signers)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s: %s\n", dirs[0], strings.Join(made, ", "))
	for _, s := range signers {
		fmt.Fprintf(std.Out, "  signer  %s %s\n", s.Name, s.Fingerprint())
	}
	if len(signers) < 2 {
		fmt.Fprintf(std.Out, "  A push needs the keys of two operators; signers in fleet.toml has %d.\n", len(signers))
	}
	_, err = fmt.Fprintf(std.Out, `Next
  cd %s && git init
  change fleet.toml, sites.csv and attachments.csv to be yours
  ginnelctl validate
`, dirs[0])
	return err
}

// firstSigners are the keys in the named files, or all that can be found here;
// each once.
func firstSigners(ctx context.Context, named []string) (bundle.Signers, error) {
	var all bundle.Signers
	add := func(s bundle.Signer) {
		if !slices.ContainsFunc(all, func(o bundle.Signer) bool { return o.Fingerprint() == s.Fingerprint() }) {
			all = append(all, s)
		}
	}
	files := named
	if len(named) == 0 {
		home, err := os.UserHomeDir()
		if err == nil {
			files, _ = filepath.Glob(filepath.Join(home, ".ssh", "id_*.pub"))
		}
		inAgent, _ := signing.InAgent(ctx) // without an agent there is nothing in it
		for _, s := range inAgent {
			add(s)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			var s bundle.Signer
			if s, err = bundle.ParseSigner(strings.TrimSpace(string(text))); err == nil {
				add(s)
				continue
			}
			err = fmt.Errorf("%s is %w", file, err)
		}
		if len(named) > 0 {
			return nil, cli.WithHint(err, "--signer takes the file of a public key, as ~/.ssh/id_ed25519.pub")
		}
	}
	return all, nil
}

// validate reads a fleet and compiles all of it.
func validate(_ context.Context, std cli.IO, args []string) error {
	dirs, err := cli.Parse(cli.Flags(), args, 0, 1)
	if err != nil {
		return err
	}
	f, err := fleet.Load(append(dirs, ".")[0])
	if err != nil {
		return allOf(err)
	}
	all, err := f.CompileAll()
	if err != nil {
		return allOf(err)
	}
	fmt.Fprintf(std.Out, "fleet %.7s: good. %s.\n", f.Digest(), f.Summary())
	for _, n := range f.Notes() {
		fmt.Fprintln(std.Out, "note: "+n.Error())
	}
	if err := f.CanPush(); err != nil {
		fmt.Fprintln(std.Out, "note: "+err.Error())
	}
	return writeWaiting(std, f, all)
}

// writeWaiting tells what is not there yet.
func writeWaiting(std cli.IO, f *fleet.Fleet, all []fleet.Desired) error {
	if n := len(f.Given()); n > 0 {
		fmt.Fprintf(std.Out, "%s will be given an address by the next plan.\n", counted(n, "gateway"))
	}
	wait := map[string][]string{} // gateway without a key -> networks
	var order []string
	for _, d := range all {
		for _, w := range d.Waiting {
			if d.Gateway == w.For {
				if wait[w.For] == nil {
					order = append(order, w.For)
				}
				wait[w.For] = append(wait[w.For], w.Network)
			}
		}
	}
	if len(order) == 0 {
		return nil
	}
	const most = 10
	fmt.Fprintf(std.Out, "%s: waiting for a key\n", counted(len(order), "gateway"))
	for _, g := range order[:min(most, len(order))] {
		fmt.Fprintf(std.Out, "  %-16s %s\n", g, strings.Join(wait[g], ", "))
	}
	if more := len(order) - most; more > 0 {
		fmt.Fprintf(std.Out, "  and %d more\n", more)
	}
	return nil
}

// allOf adds how many mistakes there are.
func allOf(err error) error {
	ps, ok := errors.AsType[config.Problems](err)
	if !ok || len(ps) < 2 {
		return err
	}
	return fmt.Errorf("%w\n%d mistakes", err, len(ps))
}

// show prints a gateway's config, and why it is so.
func show(_ context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	dir := flags.String("fleet", ".", "")
	names, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	f, err := fleet.Load(*dir)
	if err != nil {
		return allOf(err)
	}
	g, ok := f.Gateway(names[0])
	if !ok {
		return cli.WithHint(fmt.Errorf("there is no gateway %q in this fleet", names[0]), gatewayHint(f, names[0]))
	}
	d, err := f.Compile(g.Name)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "# %s, ring %s\n", g.Name, f.Rings()[g.Ring])
	for _, r := range d.Reasons {
		fmt.Fprintf(std.Out, "#   %-24s %s\n", r.Part, strings.Join(r.Where, ", "))
	}
	for _, w := range d.Waiting {
		peer := w.Network
		if w.Peer != "" {
			peer += ", " + w.Peer
		}
		fmt.Fprintf(std.Out, "#   %-24s left out: waiting for a key of %s\n", peer, w.For)
	}
	_, err = fmt.Fprintf(std.Out, "\n%s", d.Text(0))
	return err
}

// gatewayHint names the gateways of a site, or one that is spelt alike.
func gatewayHint(f *fleet.Fleet, name string) string {
	var all, of []string
	for _, g := range f.Gateways() {
		all = append(all, g.Name)
		if g.Site == name {
			of = append(of, g.Name)
		}
	}
	if len(of) > 0 {
		return strings.Join(of, ", ")
	}
	return config.Among(name, all)
}
