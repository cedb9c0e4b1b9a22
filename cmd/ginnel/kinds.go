package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/builtin"
	"github.com/ginnel/ginnel/checks/plugin"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels"
)

// kindSet are all kinds of checks of this gateway: those built in, and those that
// checks.d offers. An offer that is not as it must be is among those left out, and
// its checks say that they lack their kind; so is what is wrong with a program that
// is not there yet, whose kind is Late.
type kindSet struct {
	own      checks.Registry
	programs *plugin.Programs
	log      *slog.Logger
}

// newKinds makes the set. sockets is a folder for the plugins' sockets; empty: a
// temporary one.
func newKinds(paths agent.Paths, sockets string, manager *tunnels.Manager, faults *agent.Faults, log *slog.Logger) (*kindSet, error) {
	look := agent.LookAt(manager)
	own, err := checks.NewRegistry(append(builtin.Kinds(handshakes(look)), agent.TunnelKind(look, faults, builtin.ICMP()))...)
	taken := func(kind string) bool {
		_, ok := own.Lookup(kind)
		return ok
	}
	return &kindSet{own, plugin.NewPrograms(paths.ChecksD(), plugin.Options{SocketDir: sockets, Host: paths.CheckSocket(), Reserved: taken, Log: log}), log}, err
}

// read gives the kinds by what checks.d offers now.
func (k *kindSet) read(ctx context.Context) (_ checks.Registry, left []error, err error) {
	offered, err := k.programs.Kinds(ctx)
	left = apart(err)
	for _, err := range left {
		k.log.WarnContext(ctx, "an offer in checks.d is not there", "err", err, "hint", hintOf(err))
	}
	r, err := k.own.With(offered...)
	return r, left, err
}

// again is read for the agent: what is left out is a *local.LeftOut.
func (k *kindSet) again(ctx context.Context) (checks.Registry, error) {
	r, left, err := k.read(ctx)
	if err != nil || len(left) == 0 {
		return r, err
	}
	return r, &local.LeftOut{Text: leftOut(left)}
}

// leftOut is what is left out, and what to do about it.
func leftOut(left []error) string {
	text := ""
	for _, err := range left {
		text += err.Error() + "\n"
		if hint := hintOf(err); hint != "" {
			text += "    hint: " + hint + "\n"
		}
	}
	return strings.TrimSuffix(text, "\n")
}

// hintOf is what to do about an offer; empty: nothing known.
func hintOf(err error) string {
	if f, ok := errors.AsType[*plugin.FileError](err); ok {
		return f.Hint
	}
	return ""
}

// apart are the errors that err joins, each by itself.
func apart(err error) (list []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		list = append(list, apart(e)...)
	}
	return list
}

// handshakes lets the handshake kind, which knows no tunnels, look at them.
func handshakes(look agent.Tunnel) builtin.Look {
	return func(network, hub string) (builtin.Handshake, error) {
		st, err := look(network, hub)
		if err != nil {
			return builtin.Handshake{}, err
		}
		p, ok := agent.PeerOf(st, hub)
		if !ok {
			return builtin.Handshake{}, fmt.Errorf("peer %s is not on %s", hub, st.Device)
		}
		return builtin.Handshake{Last: p.LastHandshake, Sent: p.Sent, Received: p.Received,
			Keepalive: p.Keepalive, Endpoint: p.Endpoint, Device: st.Device}, nil
	}
}

// offlineKinds are the same for commands that look at a config without an agent.
func offlineKinds(ctx context.Context) (checks.Registry, error) {
	registry, _, err := offlineOffers(ctx)
	return registry, err
}

// offlineOffers also tells what is wrong with the offers in checks.d.
func offlineOffers(ctx context.Context) (checks.Registry, []error, error) {
	set, err := newKinds(place(), "", &tunnels.Manager{}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return checks.Registry{}, nil, err
	}
	return set.read(ctx)
}

func checkList(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	if _, err := cli.Parse(fs, args, 0, 0); err != nil {
		return err
	}
	registry, left, err := offlineOffers(ctx)
	if err != nil {
		return err
	}
	defer registry.Close()
	kinds := slices.DeleteFunc(registry.Kinds(), func(k checks.Kind) bool { return k.Name == agent.TunnelKindName })
	running := programs(ctx, registry)
	if *asJSON {
		list := []kindJSON{}
		for _, k := range kinds {
			one := jsonOf(k)
			if p, ok := running[k.Name]; ok {
				one.Program = &p
			}
			list = append(list, one)
		}
		tellLeft(std, left)
		return writeJSON(std.Out, list)
	}
	const column = 12
	margin := strings.Repeat(" ", column)
	for _, k := range kinds {
		fmt.Fprintf(std.Out, "%-*s%s\n", column, k.Name+" ", cli.Wrap(k.Doc, cli.Width-column, margin))
		if p, ok := running[k.Name]; ok {
			fmt.Fprintf(std.Out, "%s%s\n", margin, cli.Wrap(aboutProgram(p), cli.Width-column, margin))
		}
	}
	tellLeft(std, left)
	return nil
}

// tellLeft says which offers make no kind. What is wrong with a program is said
// beside its kind.
func tellLeft(std cli.IO, left []error) {
	for _, err := range left {
		if f, ok := errors.AsType[*plugin.FileError](err); ok && f.Error() == err.Error() {
			cli.PrintError(std.Err, "left out", cli.WithHint(f, f.Hint))
		}
	}
}

func checkSchema(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	words, err := cli.Parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	registry, err := offlineKinds(ctx)
	if err != nil {
		return err
	}
	defer registry.Close()
	kind, ok := registry.Lookup(words[0])
	if !ok {
		return cli.WithHint(fmt.Errorf("%s: %w", words[0], checks.ErrNoKind), "ginnel check list")
	}
	if kind.Late {
		return cli.WithHint(fmt.Errorf("%s: its program in checks.d is not there now, so its options are not known", kind.Name), "journalctl -u ginnel")
	}
	if *asJSON {
		return writeJSON(std.Out, jsonOf(kind))
	}
	fmt.Fprintf(std.Out, "%s\n\n", cli.Wrap(kind.Name+": "+kind.Doc, cli.Width, "    "))
	printSchema(std, kind.Schema, "")
	return nil
}
