package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels"
)

// plan prints what the agent would write, and writes nothing but a missing key.
func plan(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	words, err := cli.Parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	file := ""
	if len(words) > 0 {
		file = words[0]
	}
	c, err := configFor(ctx, file)
	if err != nil {
		return advise(err)
	}
	names, steps, lacks, err := planFor(ctx, c)
	if err != nil {
		return advise(err)
	}
	if *asJSON {
		err = json.NewEncoder(std.Out).Encode(tunnels.StepsJSON(steps))
		_, lost := fmt.Fprint(std.Err, tunnels.FormatLacks(lacks))
		err = errors.Join(err, lost)
	} else {
		_, err = fmt.Fprint(std.Out, tunnels.FormatLacks(lacks), tunnels.FormatPlan(names, steps))
	}
	if err == nil && len(steps) > 0 {
		return &cli.Exit{Code: 2}
	}
	return err
}

// planFor compares a config with the host. lacks is what of the config cannot be
// had here.
func planFor(ctx context.Context, c *config.Config) (names []string, steps []tunnels.Step, lacks []tunnels.Problem, err error) {
	if err := agent.SameGateway("config", c.Gateway, gatewayHere(ctx)); err != nil {
		return nil, nil, nil, err
	}
	spec, err := c.Spec(place().Key)
	if err != nil {
		return nil, nil, nil, err
	}
	h, err := openHost(place(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, nil, err
	}
	defer h.Close()
	if _, err := h.Backend(); err != nil {
		return nil, nil, nil, err
	}
	if err := h.Nftables(); err != nil {
		return nil, nil, nil, err
	}
	problems, err := h.collisions(ctx, c, spec)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(problems) > 0 {
		return nil, nil, nil, fmt.Errorf("%s\n\n%w\nNothing was written.", c.Refusal(problems), problems)
	}
	h.Manager.Set(spec)
	steps, err = h.Manager.Plan(ctx)
	for _, n := range c.Networks {
		names = append(names, n.Name)
	}
	return names, steps, h.Manager.Lacks(), err
}

// gatewayHere is what this gateway is called; empty: nothing yet.
func gatewayHere(ctx context.Context) string {
	if s, err := client().Snapshot(ctx); err == nil {
		return s.Gateway
	}
	if id, err := identity.Open(place().Identity()); err == nil && id.Enrolled() {
		return id.Site().Gateway
	}
	return ""
}

// down takes the tunnels down. The agent does it where one runs, so that it does
// not put them up again.
func down(ctx context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	up := "ginnel reload"
	err := client().Down(ctx)
	if errors.Is(err, local.ErrNotRunning) {
		up = "ginnel run"
		err = withdraw(ctx, tunnels.Refusals)
	}
	if err != nil {
		return advise(err)
	}
	_, err = fmt.Fprintf(std.Out, "The tunnels are down. Their traffic is refused. Up again: %s\n", up)
	return err
}

// cleanup leaves the host as it was before us.
func cleanup(ctx context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	if _, err := client().Snapshot(ctx); err == nil {
		return cli.WithHint(errors.New("the agent runs, and would put everything back"), "end it first: systemctl stop ginnel, or Ctrl-C where ginnel run runs")
	}
	if err := withdraw(ctx, tunnels.Nothing); err != nil {
		return err
	}
	// The next start is no restart: nothing is up as it was.
	if err := os.Remove(place().States()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := fmt.Fprintf(std.Out, "Nothing of ours is on this host's network any more.\nKept: %s, %s\n", place().Etc, place().Var)
	return err
}

func withdraw(ctx context.Context, extent tunnels.Extent) error {
	h, err := openHost(place(), slog.New(slog.DiscardHandler))
	if err != nil {
		return advise(err)
	}
	defer h.Close()
	if _, err := h.SweepSockets(ctx); err != nil {
		return err
	}
	return advise(h.Manager.Withdraw(ctx, extent))
}

// guard puts up what refuses, from the config that ran last, or the one that is
// to run. The list of what is shut out changes nothing of that.
func guard(ctx context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	paths := place()
	c, err := paths.Boots()
	if err != nil {
		if c, err = config.Load(paths.Desired()); err != nil {
			fmt.Fprintln(std.Out, "no config has run here yet: nothing to guard")
			return nil
		}
	}
	spec, err := c.Spec(paths.ExistingKey)
	if err != nil {
		return advise(err)
	}
	h, err := openHost(paths, slog.New(slog.DiscardHandler))
	if err != nil {
		return advise(err)
	}
	defer h.Close()
	h.Manager.Set(spec)
	return advise(h.Manager.Guard(ctx))
}
