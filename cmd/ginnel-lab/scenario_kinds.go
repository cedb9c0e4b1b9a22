package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playKinds has checks of every kind at one gateway at once, built in and by
// programs, and runs each by hand too.
func playKinds(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Whole().WithEveryKind().Only(county.AllKinds), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	site := c.Site(county.AllKinds)
	if err := site.OfferPrograms(); err != nil {
		return err
	}
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	st, err := site.Status(ctx)
	if err != nil {
		return err
	}
	of := map[string][]string{}
	down := 0
	for _, k := range st.Checks {
		of[k.Kind] = append(of[k.Kind], k.Name)
		if k.State != checks.Up {
			down++
		}
	}
	listed, err := site.Node.Run(ctx, "ginnel", "check", "list")
	if err != nil {
		return err
	}
	var missing []string
	for line := range strings.Lines(listed) {
		kind, _, _ := strings.Cut(line, " ")
		if kind != "" && !strings.HasPrefix(line, " ") && of[kind] == nil {
			missing = append(missing, kind)
		}
	}
	s.zero("kinds of the gateway that no check is of", len(missing), "kinds", strings.Join(missing, ", "))
	s.zero("checks that are not up", down, "checks", fmt.Sprintf("%d, of %d kinds", len(st.Checks), len(of)))
	return s.explained(within(ctx, time.Minute), site, of)
}

// explained runs a check of each kind by hand; what it prints is what a
// technician reads.
func (s *stage) explained(ctx context.Context, site *county.Site, of map[string][]string) error {
	bad, steps := 0, 0
	for _, names := range of {
		out, err := site.Node.Run(ctx, "ginnel", "check", "run", "--explain", names[0])
		if err != nil || !strings.HasPrefix(out, names[0]+"  ok") {
			bad++
			fmt.Printf("%s: %v\n%s\n", names[0], err, out)
		}
		steps += strings.Count(out, "\n  ")
	}
	s.zero("checks that are not ok when they are run by hand", bad, "checks", fmt.Sprintf("one of each kind, %d steps explained", steps))
	return nil
}
