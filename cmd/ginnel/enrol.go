package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// enrol reads a pack aloud, asks, hands it to the agent, or enrols by itself
// where none runs, and ends with a list of what passed.
func enrol(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	yes := fs.Bool("yes", false, "")
	words, err := cli.Parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	pack, err := identity.ReadPack(words[0])
	if err != nil {
		return advise(err)
	}
	readAloud(std, pack)
	if !*yes && !confirm(std) {
		return &cli.Exit{Code: 1, Err: errors.New("not enrolled: the answer was no, nothing was changed")}
	}
	failed := false
	tell := func(p local.Progress) {
		mark := "ok  "
		if !p.OK {
			mark, failed = "FAIL", true
		}
		fmt.Fprintf(std.Out, "  %s  %-12s %s\n", mark, p.Step, p.Text)
	}
	err = handOver(ctx, words[0], pack, tell)
	if err != nil {
		return advise(err)
	}
	if failed {
		return &cli.Exit{Code: 1}
	}
	if err := identity.SpendPack(words[0]); err != nil {
		fmt.Fprintf(std.Err, "ginnel: the token in %s is used up, but still there: %v\n", words[0], err)
	}
	_, err = fmt.Fprintf(std.Out, "%s is enrolled.\n", pack.Site.Gateway)
	return err
}

// readAloud says which site a pack is for: the wrong pack would join one body's
// LAN to another's network.
func readAloud(std cli.IO, p identity.Pack) {
	fmt.Fprintf(std.Out, "This pack makes this machine\n\n")
	fmt.Fprintf(std.Out, "  gateway    %s\n", p.Site.Gateway)
	fmt.Fprintf(std.Out, "  site       %s, %s\n", p.Site.ID, p.Site.Name)
	if p.Site.Postcode != "" {
		fmt.Fprintf(std.Out, "  postcode   %s\n", p.Site.Postcode)
	}
	fmt.Fprintf(std.Out, "  networks   %s\n", strings.Join(p.Site.Networks, ", "))
	fmt.Fprintf(std.Out, "  collector  %s\n\n", strings.Join(p.Collector, ", "))
}

func confirm(std cli.IO) bool {
	fmt.Fprint(std.Out, "You stand in this place, and all of it is right? [y/N] ")
	line, _ := bufio.NewReader(std.In).ReadString('\n')
	fmt.Fprintln(std.Out)
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}

func handOver(ctx context.Context, file string, pack identity.Pack, tell func(local.Progress)) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	err = client().Enrol(ctx, text, tell)
	if !errors.Is(err, local.ErrNotRunning) {
		return err
	}
	paths := place()
	host, err := config.LoadHost(paths.Host())
	if err != nil {
		return err
	}
	if _, err := agent.Enrolment(ctx, paths, host.Proxy, host.ExtraCA, version, pack, tell); err != nil {
		return err
	}
	return paths.GiveAway(paths.Identity())
}
