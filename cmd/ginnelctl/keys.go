package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/plan"
)

const keysListHelp = `
  --fleet DIR       the fleet's folder; . unless given
` + desksHelp + `
It verifies what gateways proved of their keys and writes the new ones to
keys.csv, as plan does. A fingerprint must equal what the technician's screen
showed, and the sheet that was signed on site.`

const keysApproveHelp = `
  --fleet DIR       the fleet's folder; . unless given
  --yes             do not ask
` + desksHelp + `
A gateway that was replaced, or made a key anew, is not given to anyone before a
person has said so here. Commit keys.csv, then push.`

// keysList shows the keys of all gateways, or of those that are named.
func keysList(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	dir := flags.String("fleet", ".", "")
	gateways, err := cli.Parse(flags, args, 0, 10000)
	if err != nil {
		return err
	}
	s, err := d.take(ctx, *dir, nil)
	if err != nil {
		return err
	}
	if err := s.know(gateways); err != nil {
		return err
	}
	isNew := map[string]bool{}
	for _, m := range s.proved {
		for _, k := range m.New {
			isNew[k.Gateway+" "+k.Network] = true
		}
	}
	if err := s.record(); err != nil {
		return err
	}
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "GATEWAY\tNETWORK\tFINGERPRINT\tFIRST SEEN\t")
	for _, g := range s.fleet.Gateways() {
		if s.others(g) || len(gateways) > 0 && !slices.Contains(gateways, g.Name) {
			continue
		}
		for _, network := range append([]string{fleet.Device}, g.Networks...) {
			k, known := s.fleet.KeyOf(g.Name, network)
			note := ""
			switch {
			case !known && network == fleet.Device:
				continue
			case !known:
				note = "waiting for a key"
			case isNew[g.Name+" "+network]:
				note = "new"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", g.Name, deviceWord(network), cmp.Or(k.Fingerprint, "-"), cmp.Or(k.FirstSeen, "-"), note)
		}
	}
	tw.Flush() // a Builder takes everything
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(std.Out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	bad := false
	text := ""
	for _, l := range s.looks {
		if l.Kind != plan.NewKey && (len(gateways) == 0 || slices.Contains(gateways, l.Gateway)) {
			bad = bad || l.Kind == plan.BadProof
			text += l.String()
		}
	}
	if text != "" {
		text = "\nLook at these\n" + text
	}
	if _, err := fmt.Fprint(std.Out, cli.Printable(text), s.wroteText()); err != nil {
		return err
	}
	if bad {
		return &cli.Exit{Code: 1}
	}
	return nil
}

func deviceWord(network string) string {
	if network == fleet.Device {
		return "device"
	}
	return network
}

// know refuses names that are no gateway's.
func (s *survey) know(gateways []string) error {
	for _, g := range gateways {
		if _, ok := s.fleet.Gateway(g); !ok {
			return cli.WithHint(fmt.Errorf("%s is no gateway of this fleet", g), "a site's first gateway is SITE-1")
		}
	}
	return nil
}

// keysApprove takes changed keys into keys.csv.
func keysApprove(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	dir, yes := flags.String("fleet", ".", ""), flags.Bool("yes", false, "")
	gateways, err := cli.Parse(flags, args, 1, 10000)
	if err != nil {
		return err
	}
	s, err := d.take(ctx, *dir, nil)
	if err != nil {
		return err
	}
	if err := s.know(gateways); err != nil {
		return err
	}
	changes := 0
	for _, g := range gateways {
		for _, l := range s.looks {
			if l.Gateway == g && l.Kind == plan.BadProof {
				return cli.WithHint(errors.New(l.Text), l.Hint)
			}
		}
		for _, c := range s.proved[g].Changed {
			changes++
			if _, err := fmt.Fprintf(std.Out, "  ~ %s %s  %s, was %s\n", g, deviceWord(c.New.Network), c.New.Fingerprint, cmp.Or(c.Old.Fingerprint, "none")); err != nil {
				return err
			}
		}
		for _, k := range s.proved[g].Gone {
			changes++
			if _, err := fmt.Fprintf(std.Out, "  - %s %s  %s, of the device before\n", g, k.Network, k.Fingerprint); err != nil {
				return err
			}
		}
	}
	if changes == 0 {
		_, err := fmt.Fprintln(std.Out, "Nothing to approve: keys.csv has what they proved.")
		return cmp.Or(err, s.record())
	}
	if err := confirm(std, *yes, "Do these equal what the technician reads out?", "nothing was approved"); err != nil {
		return err
	}
	for _, g := range gateways {
		for _, c := range s.proved[g].Changed {
			s.fleet.SetKey(c.New)
		}
		for _, k := range s.proved[g].Gone {
			s.fleet.DropKey(g, k.Network)
		}
	}
	if err := s.fleet.Save(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.Out, "Approved: %s in keys.csv. Commit it, then ginnelctl push.\n", counted(changes, "row"))
	return err
}

// confirm asks, and takes nothing but a yes.
func confirm(std cli.IO, yes bool, question, otherwise string) error {
	if yes {
		_, err := fmt.Fprintln(std.Out, question, "yes")
		return err
	}
	if _, err := fmt.Fprint(std.Out, question, " [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(std.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return cli.WithHint(errors.New(otherwise), "y goes on; so does --yes")
}
