package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ginnel/ginnel/agent/config"
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
	file := place().Desired()
	if len(words) > 0 {
		file = words[0]
	}
	names, steps, err := planFor(ctx, file)
	if err != nil {
		return advise(err)
	}
	if *asJSON {
		err = json.NewEncoder(std.Out).Encode(tunnels.StepsJSON(steps))
	} else {
		_, err = fmt.Fprint(std.Out, tunnels.FormatPlan(names, steps))
	}
	if err == nil && len(steps) > 0 {
		return &cli.Exit{Code: 2}
	}
	return err
}

// planFor reads a config and compares it with the host.
func planFor(ctx context.Context, file string) (names []string, steps []tunnels.Step, err error) {
	c, err := load(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	spec, err := c.Spec(place().Key)
	if err != nil {
		return nil, nil, err
	}
	h, err := openHost(place(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	defer h.Close()
	problems, err := h.collisions(ctx, c, spec)
	if err != nil {
		return nil, nil, err
	}
	if len(problems) > 0 {
		return nil, nil, errors.New(c.Refusal(problems))
	}
	h.Manager.Set(spec)
	steps, err = h.Manager.Plan(ctx)
	for _, n := range c.Networks {
		names = append(names, n.Name)
	}
	return names, steps, err
}

// down takes the tunnels down. The agent does it where one runs, so that it does
// not put them up again.
func down(ctx context.Context, _ cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	if err := client().Down(ctx); notHere(err) != nil {
		return advise(err)
	} else if err == nil {
		return nil
	}
	return withdraw(ctx, tunnels.Refusals)
}

// cleanup leaves the host as it was before us.
func cleanup(ctx context.Context, _ cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	if _, err := client().Snapshot(ctx); err == nil {
		return cli.WithHint(errors.New("the agent runs, and would put everything back"), "first: systemctl stop ginnel")
	}
	return withdraw(ctx, tunnels.Nothing)
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
// to run.
func guard(ctx context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	paths := place()
	c, err := config.Load(paths.LastGood())
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
