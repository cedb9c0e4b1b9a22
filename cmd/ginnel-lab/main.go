// Command ginnel-lab runs a small county in namespaces of its own: a collector,
// hubs and the gateways of a few sites behind a WAN that delays, loses and
// cuts, all running the real programs. The demo, the tour and the end-to-end
// tests are made with it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// The main goroutine keeps the main thread: the box ends when the thread that
// started it does, and no other goroutine can leave that thread elsewhere.
func init() { runtime.LockOSThread() }

func main() {
	if code, inside := runInside(os.Args[1:]); inside {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	io := cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(program().Run(ctx, io, os.Args[1:]))
}

func program() cli.Program {
	p := cli.Program{
		Name:     "ginnel-lab",
		Short:    "a small county in namespaces, running the real programs",
		Commands: []cli.Command{upCommand(), scenarioCommand(), benchCommand(), swarmCommand()},
		Footer:   "Logs, captures and results are written beside the program, or below GINNEL_LAB_OUT.",
	}
	for _, c := range liveCommands(nil) {
		c.Run = askCounty(c.Name)
		p.Commands = append(p.Commands, c)
	}
	return p
}
