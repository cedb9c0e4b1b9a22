package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// live is the county that is up, as one caller sees it.
type live struct {
	county *county.County
	out    string // what netns.Out is called outside
	cwd    string // the caller's
}

// shown is how the caller would call a path below netns.Out.
func (l *live) shown(path string) string {
	outside := filepath.Join(l.out, strings.TrimPrefix(path, netns.Out))
	if rel, err := filepath.Rel(l.cwd, outside); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return outside
}

// liveCommands are those that another terminal may give. They run inside; nil
// is enough to list them.
func liveCommands(l *live) []cli.Command {
	return []cli.Command{
		{Name: "status", Short: "all sites in a table", Run: l.status},
		{Name: "tour", Short: "ninety seconds, told as it goes", Run: l.tour},
		{Name: "cut", Args: "NAME", Short: "cut the line of a site, a hub or the collector", Run: l.cut},
		{Name: "heal", Args: "NAME", Short: "undo what was done to a line", Run: l.heal},
		{Name: "delay", Args: "NAME 80ms", Short: "delay a line, one way", Run: l.delay},
		{Name: "lose", Args: "NAME 5%", Short: "lose a share of a line's packets, each way", Run: l.lose},
		{Name: "exec", Args: "NAME -- COMMAND...", Short: "run a command at a site, hub or host", Run: l.exec},
		{Name: "wire", Args: "NAME [-w FILE]", Short: "show what leaves and reaches a site, live", Run: l.wire},
	}
}

func (l *live) status(ctx context.Context, io cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	t, err := readTable(ctx, l.county)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(io.Out, t)
	return err
}

func (l *live) cut(_ context.Context, io cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 1, 1)
	if err != nil {
		return err
	}
	if err := l.county.Cut(words[0]); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "the line of %s is cut; ginnel-lab heal %s joins it again\n", words[0], words[0])
	return nil
}

func (l *live) heal(_ context.Context, io cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 1, 1)
	if err != nil {
		return err
	}
	if err := l.county.Heal(words[0]); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "the line of %s is as it was\n", words[0])
	return nil
}

func (l *live) delay(_ context.Context, io cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 2, 2)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(words[1])
	if err != nil || d < 0 || d > time.Minute {
		return cli.Usagef("%q is no delay such as 80ms", words[1])
	}
	if err := l.county.Impair(words[0], func(w *wan.Line) { w.Delay = d }); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "the line of %s takes %v each way\n", words[0], d)
	return nil
}

func (l *live) lose(_ context.Context, io cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 2, 2)
	if err != nil {
		return err
	}
	share, err := strconv.ParseFloat(strings.TrimSuffix(words[1], "%"), 64)
	if err != nil || share < 0 || share > 100 {
		return cli.Usagef("%q is no share such as 5%%", words[1])
	}
	if err := l.county.Impair(words[0], func(w *wan.Line) { w.Loss = share / 100 }); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "the line of %s loses %g %% each way\n", words[0], share)
	return nil
}

func (l *live) exec(ctx context.Context, io cli.IO, args []string) error {
	if len(args) > 1 && args[1] == "--" {
		args = append(args[:1:1], args[2:]...)
	}
	if len(args) < 2 {
		return cli.Usagef("takes a name and a command")
	}
	node, err := l.county.Node(args[0])
	if err != nil {
		return err
	}
	cmd := node.Command(ctx, args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.In, io.Out, io.Err
	cmd.Env = append(os.Environ(), "PS1="+args[0]+"# ")
	if err := node.Start(cmd); err != nil {
		return &cli.Exit{Code: 127, Err: err}
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := exit.ExitCode(); code >= 0 {
			return &cli.Exit{Code: code}
		}
		return &cli.Exit{Code: 130} // a signal ended it
	}
	return err
}
