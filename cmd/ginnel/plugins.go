package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/plugin"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// programs are those that make checks, by kind: as the agent knows them, and
// where none runs as this command has just started them.
func programs(ctx context.Context, registry checks.Registry) map[string]block.ProgramSnapshot {
	all := map[string]block.ProgramSnapshot{}
	for _, k := range registry.Kinds() {
		if k.Standing != nil {
			s := k.Standing()
			all[k.Name] = block.ProgramSnapshot{Kind: k.Name, Path: s.Path, State: s.State, Detail: s.Detail, Weaker: s.Weaker}
		}
	}
	if st, err := client().Snapshot(ctx); err == nil {
		for _, p := range st.Programs {
			all[p.Kind] = p
		}
	}
	return all
}

// aboutProgram is a program in words.
func aboutProgram(p block.ProgramSnapshot) string {
	text := p.Path + ": " + p.State
	if p.Detail != "" {
		text += ", " + p.Detail
	}
	if p.Weaker != "" {
		text += "; " + p.Weaker
	}
	return text
}

// pluginRetry touches the offer of a kind: a process that sees it changed starts
// with a clean sheet. Who may write there may decide it.
func pluginRetry(ctx context.Context, std cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 1, 1)
	if err != nil {
		return err
	}
	file, err := plugin.OfferOf(place().ChecksD(), words[0], plugin.Options{})
	if err != nil {
		return advise(err)
	}
	now := time.Now()
	if err := os.Chtimes(file, now, now); err != nil {
		return advise(err)
	}
	_, err = fmt.Fprintf(std.Out, "%s: the agent tries its program again within seconds\n", words[0])
	return err
}

// checkInstance is main of ginnel-check@.service.
func checkInstance(ctx context.Context, _ cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		return cli.WithHint(errors.New("expected one connection from the service manager"), "systemctl status ginnel-check.socket")
	}
	const firstFD = 3 // sd_listen_fds(3)
	syscall.CloseOnExec(firstFD)
	f := os.NewFile(firstFD, "lease")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("the lease: %w", err)
	}
	lease, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("the lease is no Unix socket")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	go run.Alive(ctx) // its program has the same user, and may have stopped it
	return plugin.Instance(ctx, lease, place().ChecksD(), plugin.Options{})
}
