package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/agent/block"
	daemon "github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/audit"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/report"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/web"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// storeFile is the store, below --data.
const storeFile = "collector.db"

// missed is how many heartbeats may fail before a gateway is unknown.
const missed = 3

func serveCommand(ctx context.Context, std cli.IO, args []string) (err error) {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(std.Err, &slog.HandlerOptions{Level: o.Level}))
	ln, err := listen(ctx, o)
	if err != nil {
		return err
	}
	defer ln.close() // those that no task took over
	unlock, err := lockData(o.Data)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := sqlite.Open(ctx, filepath.Join(o.Data, storeFile), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if f, err := st.Freeze(ctx); err != nil {
		return err
	} else if f.Until.After(time.Now()) {
		log.Warn("rollouts are frozen", "until", f.Until, "why", f.Why)
	}
	recent := web.NewRecent(st)
	gateways, err := control.New(control.Options{Store: recent, Dir: o.Data, URL: o.URL, Names: o.Names, Heartbeat: o.Heartbeat, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateways.Close()) }()
	tasks, err := makeTasks(o, ln, recent, gateways, log)
	if err != nil {
		return err
	}
	err = daemon.Run(ctx, tasks, func() {
		log.Info("ready", "version", version)
		if err := daemon.Notify("READY=1"); err != nil {
			log.Warn("service manager not told", "err", err)
		}
	})
	log.Info("stopped", "cause", context.Cause(ctx))
	return err
}

// makeTasks says what runs.
func makeTasks(o options, ln listeners, st *web.Recent, gateways *control.Server, log *slog.Logger) ([]daemon.Task, error) {
	zone, err := time.LoadLocation(block.Zone)
	if err != nil {
		return nil, err
	}
	blocks := ingest.New(st, gateways.Gateway, control.Refuse, log)
	mux := http.NewServeMux()
	mux.Handle(control.Path, gateways.Handler())
	mux.Handle("POST /v1/blocks", blocks)
	mux.Handle("POST /v1/evidence", ingest.NewEvidence(st, gateways.Gateway, control.Refuse, log))

	conf, err := pagesTLS(o, gateways)
	if err != nil {
		return nil, err
	}
	if conf != nil {
		ln.pages = tls.NewListener(ln.pages, conf)
	}
	gate := access.Gate{Header: o.Header}
	if o.Operators || o.Header != "" {
		gate.Operators = st
	}
	reports := report.New(st, nil, log)
	pages := web.New(web.Config{
		Store: st, Ingest: blocks.Count(), Limited: gateways.Limited, CA: centre.CA{URL: o.URL, PEM: string(gateways.CA())}, Version: version,
		Report: reports.Write, Zone: zone, Silence: missed * o.Heartbeat, Gate: gate, Steering: gateways,
		AnyHost: o.operatorTLS() || o.Header != "", Log: log,
	})
	control := gateways.TLSConfig()
	control.NextProtos = []string{"h2", "http/1.1"}
	tasks, err := exports(o, st, log)
	if err != nil {
		return nil, err
	}
	return append(tasks, []daemon.Task{
		httpTask("gateways", tls.NewListener(ln.gateways, control), gateways.Limit(mux), log),
		httpTask("pages", ln.pages, pages.Handler(), log),
		{Name: "rollouts", Run: gateways.Steer},
		{Name: "reports", Run: reports.Run},
	}...), nil
}

// exports carry the log of acts to where the options say.
func exports(o options, st *web.Recent, log *slog.Logger) ([]daemon.Task, error) {
	var tasks []daemon.Task
	for _, one := range []struct {
		where string
		open  func(string) (audit.Sink, error)
	}{{o.AuditLog, audit.File}, {o.Syslog, audit.Syslog}} {
		if one.where == "" {
			continue
		}
		sink, err := one.open(one.where)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, daemon.Task{Name: "export of acts", Run: func(ctx context.Context, ready func()) error {
			ready()
			return audit.Run(ctx, st, sink, log)
		}})
	}
	return tasks, nil
}

// httpTask serves until ctx ends, and then lets requests come to their end.
func httpTask(name string, ln net.Listener, h http.Handler, log *slog.Logger) daemon.Task {
	return daemon.Task{Name: name, Run: func(ctx context.Context, ready func()) error {
		requests := context.WithoutCancel(ctx) // they may come to their end
		srv := &http.Server{
			Handler: h, BaseContext: func(net.Listener) context.Context { return requests },
			ReadHeaderTimeout: 20 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 3 * time.Minute,
			HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: 32}, // see control.Limit
			MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.With("listener", name).Handler(), slog.LevelDebug),
		}
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ln) }()
		log.Info("listening", "for", name, "address", ln.Addr().String())
		ready()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		last, cancel := context.WithTimeout(requests, 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(last); err != nil {
			log.Warn("connections cut off", "listener", name, "err", err)
			srv.Close()
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}
}

// lockData makes the data directory where it is missing, and keeps a second
// collector out of it.
func lockData(dir string) (unlock func(), err error) {
	var f *os.File
	if err = os.MkdirAll(dir, 0o700); err == nil {
		f, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, cli.WithHint(fmt.Errorf("data directory: %w", err), "run it as root, or as a service; or --data DIR")
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by another collector", dir)
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
