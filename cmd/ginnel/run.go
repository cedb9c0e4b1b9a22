package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/agent/service"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// runAgent is the agent: the host and the kinds of checks are chosen here, the
// rest is a list of tasks.
func runAgent(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	file := fs.String("config", "", "")
	if _, err := cli.Parse(fs, args, 0, 0); err != nil {
		return err
	}
	beFrugal()
	paths := place()
	level := new(slog.LevelVar)
	log := logger(std.Err, level)
	librariesTo(log)
	h, err := openHost(paths, log)
	if err != nil {
		return advise(err)
	}
	defer h.Close()
	setLevel(level, h.Settings.LogLevel)
	if err := ready(ctx, h, log); err != nil {
		return err
	}
	faults := new(agent.Faults)
	kinds, err := newKinds(paths, filepath.Join(paths.Run, "plugins"), h.Manager, faults, log)
	if err != nil {
		return err
	}
	registry, _, err := kinds.read(ctx) // what is left out is in the log
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{
		Paths: paths, Config: *file, Host: h.Settings, Version: version, Backend: h.backendName,
		Tunnels: h.Manager, Registry: registry, Offers: kinds.again, Collisions: h.newCollisions, Watch: h.Watch, Beside: h,
		Dataplanes: &h.planes, Sight: h.sight(), Faults: faults, Log: log,
	})
	if err != nil {
		return errors.Join(advise(err), registry.Close())
	}
	defer func() { _ = a.Kinds().Close() }()
	return service.Run(ctx, func(ctx context.Context) error {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
		defer stop()
		go reloadOnHangup(ctx, a, log)
		return run.Run(ctx, a.Tasks(), func() {
			log.Info("ready", "version", version)
			if err := run.Notify("READY=1"); err != nil {
				log.Warn("the service manager was not told", "err", err)
			}
		})
	})
}

// ready finds out what would keep every tunnel from coming up, and clears away
// what a killed data plane left.
func ready(ctx context.Context, h *hostSide, log *slog.Logger) error {
	if _, err := h.Backend(); err != nil {
		return advise(err)
	}
	swept, err := h.SweepSockets(ctx)
	if err != nil {
		return advise(err)
	}
	for _, device := range swept {
		log.Info("socket of a dead data plane removed", "device", device)
	}
	return nil
}

// backendName is for the status.
func (h *hostSide) backendName() string {
	b, err := h.Backend()
	if err != nil {
		return ""
	}
	return string(b)
}

// reloadOnHangup reads the config again at SIGHUP, as daemons do.
func reloadOnHangup(ctx context.Context, a *agent.Agent, log *slog.Logger) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			err := a.Reload(ctx)
			if _, left := errors.AsType[*local.LeftOut](err); err != nil && !left { // that is in the log already
				log.Error("config refused, the old one stays", "err", err)
			}
		}
	}
}

func reload(ctx context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	err := client().Reload(ctx)
	left, some := errors.AsType[*local.LeftOut](err)
	if some {
		err = nil
	}
	if _, said := errors.AsType[*local.Error](err); said {
		return fmt.Errorf("%w\nrefused: nothing was changed", err)
	}
	if err != nil {
		return advise(err)
	}
	fmt.Fprintln(std.Out, "applied")
	if _, err := configFor(ctx, ""); err != nil {
		fmt.Fprintf(std.Err, "but what is wrong with a check leaves that check out:\n%v\n", err)
	}
	if some {
		fmt.Fprintf(std.Err, "but what is wrong with a program leaves that program out:\n%s\n", left.Text)
		return &cli.Exit{Code: 1}
	}
	return nil
}

// logger writes to the journal's taste: it stamps lines by itself.
func logger(w io.Writer, level slog.Leveler) *slog.Logger {
	o := slog.HandlerOptions{Level: level}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, &o))
}

// librariesTo has our log tell, to who wants to know that much, what libraries tell
// Go's own: net/http tells it of each server that speaks before it is asked.
func librariesTo(ours *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(ours.Handler(), slog.LevelDebug).Writer())
}

func setLevel(level *slog.LevelVar, name string) {
	if name != "" {
		_ = level.UnmarshalText([]byte(name)) // config knows the names
	}
}

func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL
	}
	return u.Hostname()
}
