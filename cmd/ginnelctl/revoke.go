package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/signing"
)

const listFlagsHelp = `
  --fleet DIR       the fleet's folder; . unless given
  --sign-with KEY   a file, "agent" or "agent:COMMENT"; found unless given
  --after N         where the collector lost lists: gateways have number N
  --anew            the list's signer is none any more: take it as it is shown
  --yes             do not ask`

const revokeHelp = `
  --why TEXT        which stands in the list, and in the log of acts
  --former          not the device of keys.csv, but those before it` + listFlagsHelp + desksHelp + `
A stolen, sold or broken gateway: its WireGuard keys and its certificate are shut
out for good, at every hub within a minute. The next device of the same name has
other keys, and is let in. The list is signed here; the collector can neither
make nor undo one.`

const isolateHelp = `
  --organisation ORG  all its networks, with everybody in them
  --why TEXT        which stands in the list, and in the log of acts` + listFlagsHelp + desksHelp + `
The hubs drop the site's gateways, or the organisation's networks, within a
minute, without a trial, until ginnelctl reconnect. What is for them is refused.`

const reconnectHelp = `
  --organisation ORG  which was isolated` + listFlagsHelp + desksHelp + `
Ends an isolation. A revocation is for good. With --anew alone the list is signed
again as it is, before or after a signer is taken out of fleet.toml.`

// shutting is one change of the list of what is shut out.
type shutting struct {
	desk
	dir, signWith, organisation, why string
	former, yes, anew                bool
	after                            uint64
	words                            []string
}

// parse reads the flags of one of the three commands.
func (s *shutting) parse(args []string, low, high int, own ...string) error {
	flags := cli.Flags()
	s.flags(flags)
	flags.StringVar(&s.dir, "fleet", ".", "")
	flags.StringVar(&s.signWith, "sign-with", "", "")
	flags.Uint64Var(&s.after, "after", 0, "")
	flags.BoolVar(&s.yes, "yes", false, "")
	flags.BoolVar(&s.anew, "anew", false, "")
	wantsWhy := false
	for _, name := range own {
		switch name {
		case "why":
			wantsWhy = true
			flags.StringVar(&s.why, "why", "", "")
		case "former":
			flags.BoolVar(&s.former, "former", false, "")
		case "organisation":
			flags.StringVar(&s.organisation, "organisation", "", "")
		}
	}
	var err error
	if s.words, err = cli.Parse(flags, args, low, high); err != nil {
		return err
	}
	if wantsWhy && strings.TrimSpace(s.why) == "" {
		return cli.Usagef("--why is missing: it is what people will read in a year")
	}
	only := s.anew && !wantsWhy && len(s.words) == 0 && s.organisation == ""
	if low == 0 && !only && (len(s.words) == 0) == (s.organisation == "") {
		return cli.Usagef("a SITE, or --organisation ORG")
	}
	return nil
}

func revoke(ctx context.Context, std cli.IO, args []string) error {
	var s shutting
	if err := s.parse(args, 1, 1, "why", "former"); err != nil {
		return err
	}
	return s.change(ctx, std, func(f *fleet.Fleet, c *centre.Client, _ *bundle.DenyList) (change, error) {
		if s.former {
			proved, err := c.Keys(ctx)
			if err != nil {
				return change{}, s.advise(err)
			}
			add, err := formerDevices(f, s.words[0], proved)
			return change{add: add}, err
		}
		add, err := revocation(f, s.words[0])
		return change{add: []bundle.Denial{add}}, err
	})
}

func isolate(ctx context.Context, std cli.IO, args []string) error {
	var s shutting
	if err := s.parse(args, 0, 1, "why", "organisation"); err != nil {
		return err
	}
	return s.change(ctx, std, func(f *fleet.Fleet, _ *centre.Client, now *bundle.DenyList) (change, error) {
		add, err := isolation(f, f.Networks, strings.Join(s.words, ""), s.organisation)
		if err == nil && isolated(now, add.Site, add.Organisation) {
			err = cli.WithHint(fmt.Errorf("%s is isolated already", add.Site+add.Organisation), "ginnelctl reconnect ends it")
		}
		return change{add: []bundle.Denial{add}}, err
	})
}

func reconnect(ctx context.Context, std cli.IO, args []string) error {
	var s shutting
	if err := s.parse(args, 0, 1, "organisation"); err != nil {
		return err
	}
	return s.change(ctx, std, func(_ *fleet.Fleet, _ *centre.Client, now *bundle.DenyList) (change, error) {
		site := strings.Join(s.words, "")
		if site+s.organisation == "" { // --anew alone
			return change{}, nil
		}
		if !isolated(now, site, s.organisation) {
			return change{}, fmt.Errorf("%s is not isolated", site+s.organisation)
		}
		return change{drop: func(d bundle.Denial) bool { return isIsolation(d, site, s.organisation) }}, nil
	})
}

// change is what becomes of the list: denials more, or those fewer that drop is
// true of.
type change struct {
	add  []bundle.Denial
	drop func(bundle.Denial) bool
}

// change makes the next list: it reads the one in force, shows what would be
// another, asks, signs and sends.
func (s *shutting) change(ctx context.Context, std cli.IO,
	decide func(*fleet.Fleet, *centre.Client, *bundle.DenyList) (change, error)) error {
	f, err := fleet.Load(s.dir)
	if err != nil {
		return err
	}
	signers, err := bundle.ParseSigners(f.Signers)
	if err != nil {
		return fmt.Errorf("fleet.toml: %w", err)
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	now, err := s.inForce(ctx, c, f, signers)
	if err != nil {
		return err
	}
	what, err := decide(f, c, now)
	if err != nil {
		return err
	}
	key, err := signing.Open(ctx, s.signWith, signers, std)
	if err != nil {
		return err
	}
	for i := range what.add {
		d := &what.add[i]
		d.Why, d.By, d.At = s.why, key.By.Name, time.Now().UTC().Truncate(time.Second)
	}
	next := now.Next(what.drop, what.add...)
	next.Number = max(next.Number, s.after+1)
	if err := next.Validate(); err != nil {
		return err
	}
	if err := tellChange(std.Out, now, next, f); err != nil {
		return err
	}
	question := fmt.Sprintf("Sign list %d as %s and put it in force?", next.Number, key.By.Name)
	if err := confirm(std, s.yes, question, "nothing was signed, nothing was sent"); err != nil {
		return err
	}
	b, err := key.Sign(ctx, []byte(next.Format()), bundle.List)
	if err != nil {
		return err
	}
	put, err := c.SetList(ctx, centre.NewList{Bundle: b.Bytes()})
	if err != nil {
		return s.advise(err)
	}
	f.SetGeneration(fleet.Generation{Gateway: fleet.List, Number: next.Number, Hash: b.Hash()})
	_, err = fmt.Fprintf(std.Out, "List %d is sent: in force at %d of %d gateways, at the others with their next heartbeat.\nCommit generations.csv.\n",
		put.Number, put.Reached, put.All)
	return errors.Join(f.Save(), err)
}

// inForce reads the list in force from the collector, who could show an old one
// or none: whose signature it carries is looked at, and what number gateways say
// that they have, and the files say that was sent.
func (s *shutting) inForce(ctx context.Context, c *centre.Client, f *fleet.Fleet, signers bundle.Signers) (*bundle.DenyList, error) {
	shown, err := c.List(ctx)
	if err != nil {
		return nil, s.advise(err)
	}
	var now *bundle.DenyList
	if len(shown.Bundle) > 0 {
		b, err := bundle.Parse(shown.Bundle)
		if err == nil {
			_, err = b.Verify(bundle.List, signers)
		}
		if s.anew && errors.Is(err, bundle.ErrSigner) {
			_, err = b.Claimed(bundle.List)
		}
		if err != nil {
			return nil, cli.WithHint(fmt.Errorf("the list that the collector shows: %w", err),
				"was its signer taken out of fleet.toml? Then --anew, and read what it says; else distrust the collector")
		}
		if now, err = bundle.ParseList("the collector's list", b.Text); err != nil {
			return nil, err
		}
	}
	gateways, err := c.Fleet(ctx)
	if err != nil {
		return nil, s.advise(err)
	}
	if sent, ok := f.GenerationOf(fleet.List); ok {
		gateways = append(gateways, centre.GatewayState{Name: "generations.csv", List: sent.Number})
	}
	for _, g := range gateways {
		if g.List > max(now.Serial(), s.after) {
			return nil, cli.WithHint(fmt.Errorf("%s has list %d, and the collector shows %d: it has lost some, or keeps them back", g.Name, g.List, now.Serial()),
				fmt.Sprintf("shut out again what the lost lists did, with --after %d", g.List))
		}
	}
	return now, nil
}
