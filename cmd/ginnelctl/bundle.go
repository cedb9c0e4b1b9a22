package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/plan"
)

const bundleHelp = `
  --fleet DIR       the fleet's folder; . unless given
  --yes             do not ask
  --sign-with KEY   a file, "agent" or "agent:COMMENT"; found unless given
` + desksHelp + `
For a gateway that cannot reach the collector: FILE is for "ginnel apply", and
FILE.back is the way back from it. It is a push to this gateway alone, at any
time: the same checks, its generations in generations.csv, and the collector knows
of it. What was pushed already is not signed again. Where the collector does not
answer, FILE is made of the files alone, without a way back, and the centre will
show drift until the next push.
Exit: 0 FILE is written, 1 refused.`

// carried is what is written for a stick.
type carried struct{ there, back []byte } // back empty: there is no way back

// bundleFile writes the signed config of one gateway into a file.
func bundleFile(ctx context.Context, std cli.IO, args []string) error {
	var o pushOrder
	flags := cli.Flags()
	o.desk.flags(flags)
	flags.StringVar(&o.dir, "fleet", ".", "")
	flags.StringVar(&o.signWith, "sign-with", "", "")
	flags.BoolVar(&o.yes, "yes", false, "")
	words, err := cli.Parse(flags, args, 2, 2)
	if err != nil {
		return err
	}
	gateway, file := words[0], words[1]
	for _, f := range []string{file, file + ".back"} {
		if _, err := os.Lstat(f); err == nil {
			return cli.WithHint(fmt.Errorf("%s is there already", f), "remove it, or name another")
		}
	}
	s, away, err := o.reach(ctx)
	if err != nil {
		return err
	}
	p, err := s.planOf(ctx, gateway)
	if err != nil {
		return err
	}
	if err := s.detail(std, p, gateway); err != nil {
		return err
	}
	var c carried
	if one, changes := p.Only(gateway); changes {
		c, err = o.carry(ctx, std, s, one, away)
	} else {
		c, err = s.stored(ctx, p, gateway)
	}
	if err != nil {
		return err
	}
	return c.write(std, gateway, file)
}

// reach takes stock. Where the collector cannot be reached, away says why, and
// what the files know is all there is.
func (o *pushOrder) reach(ctx context.Context) (s *survey, away, err error) {
	if s, err = o.files(o.dir, nil); err != nil {
		return nil, nil, err
	}
	_, err = s.client.Fleet(ctx)
	if _, onTheWay := errors.AsType[*url.Error](err); onTheWay {
		return s, o.advise(err), s.suppose()
	}
	if err = s.ask(ctx, &o.desk); err == nil {
		err = s.record()
	}
	return s, nil, err
}

// suppose has the gateways be as the files alone know them: those with keys are
// enrolled, and run nobody knows what.
func (s *survey) suppose() error {
	for _, g := range s.fleet.Gateways() {
		if _, known := s.fleet.KeyOf(g.Name, fleet.Device); known {
			s.states[g.Name] = centre.GatewayState{Name: g.Name, Site: g.Site, Enrolled: s.now, LastSeen: s.now}
		}
	}
	return nil
}

// planOf is the plan with one gateway of this fleet in mind.
func (s *survey) planOf(ctx context.Context, gateway string) (*plan.Plan, error) {
	if g, known := s.fleet.Gateway(gateway); known && s.others(g) {
		return nil, fmt.Errorf("%s is not of your organisation", gateway)
	}
	return s.plan(ctx)
}

// carry signs a plan of one gateway, and tells the collector of it. away says why
// that cannot be reached; nil: it was.
func (o *pushOrder) carry(ctx context.Context, std cli.IO, s *survey, p *plan.Plan, away error) (carried, error) {
	var none carried
	if err := s.refuse(p); err != nil {
		return none, err
	}
	handover, err := handover(p)
	fmt.Fprint(std.Out, handover, s.wroteText())
	if err != nil {
		return none, err
	}
	gateway := p.Changes[0].Gateway
	if needs := p.Changes[0].Needs; len(needs) > 0 {
		fmt.Fprintf(std.Out, "It has no tunnel before %s knows it: ginnelctl push.\n", strings.Join(needs, " and "))
	}
	question := fmt.Sprintf("Sign this for %s?", gateway)
	if away != nil {
		fmt.Fprint(std.Out, cli.Wrap(fmt.Sprintf("The collector is not told: %v. What %s runs is not known here, so there is no way back but its trial's own.", away, gateway), width, "    "), "\n")
	}
	if err := confirm(std, o.yes, question, "nothing was signed, nothing was written"); err != nil {
		return none, err
	}
	signed, err := o.sign(ctx, std, s, p)
	if err != nil {
		return none, err
	}
	if away == nil {
		r, err := s.client.StartRollout(ctx, signed)
		if err != nil {
			return none, o.beaten(ctx, s.client, err)
		}
		fmt.Fprintf(std.Out, "The collector knows of it as rollout %s. Commit generations.csv.\n", r.ID)
	} else {
		fmt.Fprintln(std.Out, "Commit generations.csv.")
	}
	return carried{signed.Pushes[0].Bundle, signed.Pushes[0].Back}, nil
}

// stored is what was pushed to a gateway already, and needs no signature.
func (s *survey) stored(ctx context.Context, p *plan.Plan, gateway string) (carried, error) {
	var c carried
	for _, l := range p.Looks {
		if l.Gateway == gateway && l.Kind == plan.Refused {
			return c, errors.New("refused: nothing was signed, nothing was written")
		}
	}
	state := s.states[gateway]
	if undone := state.State == block.ConfigFailed || state.State == block.ConfigOverridden; undone {
		state.Desired = state.Running // see plan: it stays as it is
	}
	hashes := slices.DeleteFunc([]string{state.Desired.Hash, state.Running.Hash}, func(h string) bool { return h == "" })
	if len(hashes) == 0 {
		return c, cli.WithHint(fmt.Errorf("%s cannot be given a config yet", gateway), "ginnelctl plan says what it waits for")
	}
	had, err := s.client.Bundles(ctx, hashes)
	if err != nil {
		return c, err
	}
	c.there = had[hashes[0]]
	b, err := bundle.Parse(c.there)
	if err == nil && b.Hash() != hashes[0] {
		err = errors.New("it is another one")
	}
	if err == nil {
		_, err = b.Verify(bundle.Config, s.signers)
	}
	if err != nil {
		return c, cli.WithHint(fmt.Errorf("what the collector has for %s: %w", gateway, err), "nothing was written")
	}
	ran, err := bundle.Parse(had[state.Running.Hash])
	if err != nil || state.Running.Hash == hashes[0] { // nothing known runs there, or this
		return c, nil
	}
	hash := plan.WayBack(ran.Text, state.Desired.Generation)
	back, err := s.client.Bundles(ctx, []string{hash})
	if err != nil {
		return c, err
	}
	if b, err := bundle.Parse(back[hash]); err == nil && b.Hash() == hash {
		c.back = back[hash]
	}
	return c, nil
}

// write writes the files, and says what to do with them.
func (c carried) write(std cli.IO, gateway, file string) error {
	if err := writeNew(file, c.there); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "Written: %s. At %s: sudo ginnel apply %s\n", file, gateway, file)
	if len(c.back) == 0 {
		return nil
	}
	if err := writeNew(file+".back", c.back); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.Out, "Written: %s.back, the way back.\n", file)
	return err
}
