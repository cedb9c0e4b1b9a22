package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// explain is `ginnel why`: the first broken step, and whose it is.
func explain(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	request := fs.Bool("request", false, "")
	codes := fs.Bool("codes", false, "")
	words, err := cli.Parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	if *codes {
		return why.WriteCodes(std.Out)
	}
	network := strings.Join(words, "")
	if *request && network == "" {
		return cli.Usagef("--request is about one network: ginnel why NETWORK --request")
	}
	r, err := askWhy(ctx, network)
	if err != nil {
		return &cli.Exit{Code: noAnswer, Err: advise(err)}
	}
	if err := writeWhy(std, r, *asJSON, *request); err != nil {
		return err
	}
	switch code := exitCode(r.State); {
	case r.Code == why.NotRunning:
		return &cli.Exit{Code: noAnswer}
	case code != 0:
		return &cli.Exit{Code: code}
	}
	return nil
}

func writeWhy(std cli.IO, r *why.Report, asJSON, request bool) error {
	switch {
	case asJSON:
		return writeJSON(std.Out, r)
	case request && r.Request == nil:
		return cli.WithHint(fmt.Errorf("%s: this gateway is the hub, and calls nobody", r.Network), "ask at a site")
	case request:
		_, err := fmt.Fprint(std.Out, r.RequestText(time.Local))
		return err
	}
	_, err := fmt.Fprint(std.Out, r.Text(time.Local))
	return err
}

// askWhy asks the agent; where none runs, root looks for itself.
func askWhy(ctx context.Context, network string) (*why.Report, error) {
	r, err := client().Why(ctx, network)
	if errors.Is(err, local.ErrNotRunning) && os.Geteuid() == 0 {
		return whyAlone(ctx, network)
	}
	return r, err
}

// whyAlone looks at the host without an agent. It measures nothing, so it says
// nothing of what is beyond the host, but that nobody does.
func whyAlone(ctx context.Context, network string) (*why.Report, error) {
	paths := place()
	c, err := config.Load(paths.LastGood())
	if err != nil {
		if c, err = config.Load(paths.Desired()); err != nil {
			return nil, local.ErrNotRunning // and nothing to look for
		}
	}
	spec, err := c.Spec(paths.ExistingKey)
	if err != nil {
		return nil, err
	}
	h, err := openHost(paths, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer h.Close()
	registry, err := checks.NewRegistry()
	if err != nil {
		return nil, err
	}
	a, err := agent.New(agent.Options{Paths: paths, Host: h.Settings, Version: version, Tunnels: h.Manager,
		Registry: registry, Sight: h.sight(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	h.Manager.Set(spec)
	if _, err := h.Manager.Plan(ctx); err != nil && h.Manager.Fault() == nil {
		return nil, err
	}
	return a.WhyAlone(ctx, c, network)
}
