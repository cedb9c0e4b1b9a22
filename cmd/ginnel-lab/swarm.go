package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/swarm"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func swarmCommand() cli.Command {
	return cli.Command{
		Name: "swarm", Args: "[-n 1000] [FLAGS] [PACK...]",
		Short: "many simulated gateways against one collector, until Ctrl-C",
		Long: `
  -n N             how many; each gets a site of its own
  --collector URL  of the pages of a collector; its own unless given
  --signers FILE   whose configs they take, as lines of ~/.ssh/id_ed25519.pub
  --heartbeat 10s  of its own collector
Nothing is changed on this machine. What gateways say and how they try a config
is the agent's own code; their tunnels are pretended, and all work.
With site packs, as ginnelctl site add wrote them, the gateways are those of the
packs: so a push can be rehearsed with the real fleet files. Never give the
address of the collector that real gateways call.`,
		Run: runSwarm,
	}
}

// swarmOptions are its flags.
type swarmOptions struct {
	n         int
	collector string
	signers   []string
	heartbeat time.Duration
	packs     []string
}

func parseSwarm(args []string) (o swarmOptions, err error) {
	fs := cli.Flags()
	fs.IntVar(&o.n, "n", 1000, "")
	fs.StringVar(&o.collector, "collector", "", "")
	signers := fs.String("signers", "", "")
	fs.DurationVar(&o.heartbeat, "heartbeat", 10*time.Second, "")
	if o.packs, err = cli.Parse(fs, args, 0, 100_000); err != nil {
		return o, err
	}
	if o.n < 1 || o.n > 10_000 {
		return o, cli.Usagef("-n %d is not from 1 to 10000", o.n)
	}
	if *signers == "" {
		return o, nil
	}
	text, err := os.ReadFile(*signers)
	if err != nil {
		return o, fmt.Errorf("signers: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			o.signers = append(o.signers, line)
		}
	}
	return o, nil
}

func runSwarm(ctx context.Context, std cli.IO, args []string) (err error) {
	o, err := parseSwarm(args)
	if err != nil {
		return err
	}
	dir, err := swarmFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var own *swarm.Collector
	api, pages := (*centre.Client)(nil), o.collector
	if o.collector == "" {
		if own, err = ownCollector(ctx, dir, o.heartbeat); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, own.Stop()) }()
		api, pages = own.API, own.Pages
	} else if api, err = centre.NewClient(o.collector, nil); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "collector   %s\n", pages)
	s := swarm.New(swarm.Options{Dir: filepath.Join(dir, "gateways"), API: api, Signers: o.signers})
	began := time.Now()
	if len(o.packs) > 0 {
		err = s.AddPacks(ctx, o.packs)
	} else {
		err = s.Add(ctx, o.n)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "enrolled    %d gateways in %.1f s\n", len(s.Gateways()), time.Since(began).Seconds())
	var wg sync.WaitGroup
	wg.Go(func() { err = s.Run(ctx, o.heartbeat) })
	watched := watchSwarm(ctx, std.Out, s, own)
	wg.Wait()
	return errors.Join(err, watched)
}

// ownCollector starts the collector beside this program.
func ownCollector(ctx context.Context, dir string, heartbeat time.Duration) (*swarm.Collector, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := swarm.NewCollector(filepath.Join(filepath.Dir(self), "ginnel-collector"), dir, heartbeat)
	if err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}

// swarmFolder is where the gateways keep what they keep: in memory where that
// can be had, for each real gateway has a disk of its own.
func swarmFolder() (string, error) {
	dir, err := os.MkdirTemp("/dev/shm", "ginnel-swarm-*")
	if err != nil {
		return os.MkdirTemp("", "ginnel-swarm-*")
	}
	return dir, nil
}

// watchSwarm prints a line at each change, until ctx ends.
func watchSwarm(ctx context.Context, out io.Writer, s *swarm.Swarm, own *swarm.Collector) error {
	before, all := "", false
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n := s.Count()
		if text := countText(n); text != before {
			fmt.Fprintf(out, "%s    %s\n", time.Now().Format("15:04:05"), text)
			before = text
		}
		if n.Reached < n.All || all {
			continue
		}
		all = true
		text, err := memoryText(n.All, own)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "memory      %s\n", text)
	}
}

func countText(n swarm.Count) string {
	text := fmt.Sprintf("%d of %d reach the collector", n.Reached, n.All)
	for kind, many := range n.Trouble {
		text += fmt.Sprintf("; %s: %d", kind, many)
	}
	if n.Applied+n.Applying+n.Failed > 0 {
		text += fmt.Sprintf("; config applied %d, on trial %d, failed %d", n.Applied, n.Applying, n.Failed)
	}
	return text
}

// memoryText is what a gateway costs here, and at a collector of ours.
func memoryText(n int, own *swarm.Collector) (string, error) {
	here, err := swarm.Memory()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%d KiB a simulated gateway, of this program", here/int64(n)>>10)
	if own == nil {
		return text, nil
	}
	there, err := own.Memory()
	return fmt.Sprintf("%s; %d KiB of the collector", text, there/int64(n)>>10), err
}
