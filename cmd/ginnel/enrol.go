package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// enrol reads a pack aloud, asks, hands it to the agent, or enrols by itself
// where none runs, and ends with a list of what passed.
func enrol(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	yes := flags.Bool("yes", false, "")
	words, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	pack, err := identity.ReadPack(words[0])
	if errors.Is(err, fs.ErrNotExist) {
		return cli.WithHint(err, "the site pack is the file that central ops gave you")
	}
	if err != nil {
		return advise(err)
	}
	readAloud(std, pack)
	if !*yes && !confirm(std) {
		return errors.New("not enrolled: the answer was no, nothing was changed")
	}
	failed := false
	tell := func(p local.Progress) {
		mark := "ok  "
		if !p.OK {
			mark, failed = "FAIL", true
		}
		fmt.Fprintf(std.Out, "  %s  %-12s %s\n", mark, p.Step, cli.Wrap(p.Text, listWidth, listMargin))
	}
	err = handOver(ctx, words[0], pack, tell)
	switch {
	case err != nil && failed: // the list has said it
		return notEnrolled{err}
	case err != nil:
		return advise(err)
	case failed:
		return &cli.Exit{Code: 1}
	}
	if err := identity.SpendPack(words[0]); err != nil {
		fmt.Fprintf(std.Err, "ginnel: the token in %s is used up, but still there: %v\n", words[0], err)
	}
	_, err = fmt.Fprintf(std.Out, "%s is enrolled.\n", pack.Site.Gateway)
	return err
}

// The list's texts begin at a column of their own.
const (
	listMargin = "                     "
	listWidth  = cli.Width - len(listMargin) - 1
)

// notEnrolled ends a list that has the error already; the hint comes last.
type notEnrolled struct{ error }

func (notEnrolled) Error() string   { return "not enrolled" }
func (e notEnrolled) Unwrap() error { return e.error }

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
	if err := agent.SameGateway("site pack", pack.Site.Gateway, wantedHere(paths)); err != nil {
		tell(local.Progress{Step: uplink.StepPack, Text: err.Error()})
		return cli.WithHint(err, "the wrong pack, or the wrong place? "+paths.Desired()+" says which gateway this is")
	}
	host, err := config.LoadHost(paths.Host())
	if err != nil {
		return err
	}
	if err := agent.Enrolment(ctx, nil, paths, host.Proxy, host.ExtraCA, version, pack, tell); err != nil {
		return err
	}
	return paths.GiveAway(paths.Identity())
}

// wantedHere is the gateway that the config here is for; empty: there is none
// that can be read.
func wantedHere(paths agent.Paths) string {
	c, err := config.Load(paths.Desired())
	if err != nil {
		return ""
	}
	return c.Gateway
}
