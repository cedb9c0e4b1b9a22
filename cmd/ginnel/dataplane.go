package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// renew replaces data planes. The agent does it where one runs, for what it keeps
// as wanted nobody else may take away.
func renew(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	all := fs.Bool("all", false, "")
	words, err := cli.Parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	if *all == (len(words) == 1) {
		return cli.Usagef("takes the name of a network, or --all")
	}
	network := ""
	if !*all {
		network = words[0]
	}
	tell := func(p local.Progress) { fmt.Fprintf(std.Out, "%s: %s\n", p.Step, p.Text) }
	err = client().Renew(ctx, network, tell)
	if errors.Is(err, local.ErrNotRunning) {
		err = renewHere(ctx, network, tell)
	}
	return advise(err)
}

// renewHere does it without an agent, as root.
func renewHere(ctx context.Context, network string, tell func(local.Progress)) error {
	c, err := place().Boots()
	if err != nil {
		return err
	}
	spec, err := c.Spec(place().ExistingKey)
	if err != nil {
		return err
	}
	h, err := openHost(place(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer h.Close()
	h.Manager.Set(spec)
	return agent.Renew(ctx, h.Manager, &h.planes, network, tell)
}

// dataplanes tells versions of data planes.
type dataplanes struct {
	program wireguard.Setsid

	mu        sync.Mutex // of what follows
	file      os.FileInfo
	installed string
}

// Running implements agent.Dataplanes.
func (d *dataplanes) Running(device string) (version string, ok bool) {
	p, ok := wireguard.Running(device)
	return p.Version, ok
}

// Installed implements agent.Dataplanes. The program is asked once, and again
// when it is another file.
func (d *dataplanes) Installed() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := os.Stat(d.program.Program)
	if err != nil {
		return ""
	}
	if d.file == nil || !os.SameFile(now, d.file) || !now.ModTime().Equal(d.file.ModTime()) {
		d.file, d.installed = now, d.program.Version()
	}
	return d.installed
}
