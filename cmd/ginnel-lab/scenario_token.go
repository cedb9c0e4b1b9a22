package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// playToken enrols with a token that is spent, with one that the collector does
// not know, and then with the right one.
func playToken(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Whole().Only("avocet", "bittern").ByHand(), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx = within(ctx, upLimit)
	if err := c.Start(ctx); err != nil {
		return err
	}
	avocet, bittern := c.Site("avocet"), c.Site("bittern")
	used, err := c.MakePack(ctx, avocet)
	if err != nil {
		return err
	}
	if err := avocet.EnrolWith(ctx, used); err != nil {
		return err
	}
	// Another machine, on which no agent runs yet and no config says whose it
	// is, with a copy of that pack.
	if err := bittern.StopAgent(ctx); err != nil {
		return err
	}
	const desired = "/etc/ginnel/desired.toml"
	config, err := bittern.Node.ReadFile(desired)
	if err != nil {
		return err
	}
	if _, err := bittern.Node.Run(ctx, "rm", desired); err != nil {
		return err
	}
	refused, text := refusedBy(bittern.EnrolWith(ctx, used))
	s.holds("a used token is refused", refused, text)
	if err := bittern.Node.WriteFile(desired, config, 0o644); err != nil {
		return err
	}
	if err := bittern.StartAgent(); err != nil {
		return err
	}
	if _, err := bittern.AwaitAnswer(ctx); err != nil {
		return err
	}

	void, err := c.MakePack(ctx, bittern)
	if err != nil {
		return err
	}
	good, err := c.MakePack(ctx, bittern) // makes the one before void
	if err != nil {
		return err
	}
	refused, text = refusedBy(bittern.EnrolWith(ctx, void))
	s.holds("a token that is not known is refused", refused, text)

	log, err := c.Collector.Audit(ctx, "enrol refused")
	if err != nil {
		return err
	}
	s.row(result{Name: "refusals in the collector's log of acts", Value: float64(len(log)), Unit: "lines", Aim: ">= 2",
		Met: len(log) >= 2, Detail: strings.Join(log, "\n")})

	err = bittern.EnrolWith(ctx, good)
	s.holds("the right token still works afterwards", err == nil, fmt.Sprint(err))
	return nil
}

// refusedBy reports whether an enrolment ended with exit 1, and what it said.
func refusedBy(err error) (bool, string) {
	f, ok := errors.AsType[*netns.Failure](err)
	if !ok {
		return false, fmt.Sprint(err)
	}
	return f.Code == 1, strings.TrimSpace(f.Stderr)
}
