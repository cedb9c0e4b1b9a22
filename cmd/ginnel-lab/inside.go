package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// Names under which this program starts itself again.
const (
	boxInit   = "box-init"   // BIN OUT SETUP: the first process of the box
	boxCounty = "box-county" // SETUP: the county in it
	boxChange = "box-change" // SITES PAIRS: what changes a hub's device, at a node
	boxProbe  = "box-probe"  // TARGETS: what runs an agent's echo checks, at a node
)

// runInside is the program when it was started by itself; false when it was
// not.
func runInside(args []string) (int, bool) {
	switch {
	case len(args) == 4 && args[0] == boxInit:
		files := []*os.File{os.NewFile(pageFD, "page"), os.NewFile(controlFD, "control")}
		return netns.Init(args[1], args[2], []string{boxCounty, args[3]}, files), true
	case len(args) == 2 && args[0] == boxCounty:
		return runCounty(args[1]), true
	case len(args) == 3 && args[0] == boxChange:
		return runChange(args[1:]), true
	case len(args) == 2 && args[0] == boxProbe:
		n, _ := strconv.Atoi(args[1])
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return runProbe(ctx, n), true
	}
	return 0, false
}

func runCounty(text string) int {
	var s setup
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, "ginnel-lab: reading the set-up:", err)
		return 1
	}
	// What is started here must not hold the listeners.
	syscall.CloseOnExec(pageFD)
	syscall.CloseOnExec(controlFD)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if s.Backend != "" {
		county.Backend = s.Backend
	}
	var err error
	switch s.Do {
	case "kernel":
		err = kernelThere()
	case "up":
		err = runUp(ctx, s)
	case "scenario", "bench":
		err = runScenarios(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ginnel-lab: error:", err)
		return 1
	}
	return 0
}

// kernelThere asks the kernel for its own WireGuard. Inside the box anybody may
// ask.
func kernelThere() error {
	support, err := wireguard.Probe()
	if err != nil {
		return err
	}
	if support.Kernel != nil {
		return fmt.Errorf("--backend kernel cannot be played here: %w", support.Kernel)
	}
	return nil
}
