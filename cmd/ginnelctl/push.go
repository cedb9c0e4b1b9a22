package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/plan"
	"github.com/ginnel/ginnel/cmd/internal/signing"
)

const pushHelp = `
  --fleet DIR       the fleet's folder; . unless given
  --yes             do not ask
  --sign-with KEY   a file, "agent" or "agent:COMMENT"; found unless given
  --no-rings        all gateways at once, once the hubs have theirs; nobody waits to
                    see whether something gets worse
  --no-wait         do not follow the rollout
  --without NAME    leave a gateway out, whatever it shows; once for each
  --all             every line, however long
` + desksHelp + `
Without PLAN it makes the plan now. With one, that is pushed as it is, unless a
gateway of it moved since. It verifies all keys again, writes generations.csv,
and signs for every gateway its config and its way back. Ctrl-C stops following:
the rollout goes on.
Exit: 0 all is through, 3 it stopped or failed somewhere, 1 refused.`

// order for a push.
type pushOrder struct {
	desk
	file, dir, signWith       string
	yes, noRings, noWait, all bool
	without                   words
}

// push signs a plan and starts its rollout.
func push(ctx context.Context, std cli.IO, args []string) error {
	var o pushOrder
	flags := cli.Flags()
	o.desk.flags(flags)
	flags.StringVar(&o.dir, "fleet", ".", "")
	flags.StringVar(&o.signWith, "sign-with", "", "")
	flags.BoolVar(&o.yes, "yes", false, "")
	flags.BoolVar(&o.noRings, "no-rings", false, "")
	flags.BoolVar(&o.noWait, "no-wait", false, "")
	flags.BoolVar(&o.all, "all", false, "")
	flags.Var(&o.without, "without", "")
	files, err := cli.Parse(flags, args, 0, 1)
	if err != nil {
		return err
	}
	if o.file = append(files, "")[0]; o.file != "" && len(o.without) > 0 {
		return cli.Usagef("--without is for plan: a plan is pushed as it is")
	}
	s, p, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(std.Out, p.Summary(o.all), "\n", s.wroteText()); err != nil {
		return err
	}
	if err := s.refuse(p); err != nil {
		return err
	}
	handover, err := handover(p)
	if _, printErr := io.WriteString(std.Out, handover); err != nil || printErr != nil {
		return errors.Join(err, printErr)
	}
	if p.Nothing() {
		_, err := fmt.Fprintln(std.Out, "Nothing to push.")
		return err
	}
	freeze, err := s.client.Freeze(ctx)
	if err != nil {
		return o.advise(err)
	}
	if text := frozen(freeze, s.now); text != "" {
		if _, err := io.WriteString(std.Out, text+"What is pushed now waits until then.\n"); err != nil {
			return err
		}
	}
	if err := o.ask(std, p); err != nil {
		return err
	}
	r, err := o.send(ctx, std, s, p)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(std.Out, "rollout %s began. Commit generations.csv.\n\n", r.ID); err != nil || o.noWait {
		return err
	}
	return o.advise(follow(ctx, std, s.client, r.ID))
}

// prepare makes the plan, or reads it and compares it with how things are now.
func (o *pushOrder) prepare(ctx context.Context) (*survey, *plan.Plan, error) {
	if o.file == "" {
		return o.survey(ctx, o.dir, o.without)
	}
	raw, err := os.ReadFile(o.file)
	if err != nil {
		return nil, nil, err
	}
	p, err := plan.Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.file, err)
	}
	s, err := o.take(ctx, o.dir, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := s.record(); err != nil {
		return nil, nil, err
	}
	// What there is to look at is of now.
	p.Looks = plan.Renew(p.Looks, s.looks)
	p.LookBack(s.key)
	states := make([]centre.GatewayState, 0, len(s.states))
	for _, g := range s.states {
		states = append(states, g)
	}
	if moved := p.Moved(states, s.pushed); len(moved) > 0 {
		return nil, nil, cli.WithHint(fmt.Errorf("%s was made before this:\n  %s", o.file, strings.Join(some(moved), "\n  ")),
			"ginnelctl plan makes it anew")
	}
	if astray := p.Astray(s.fleet.Signers, s.fleet.Collector); len(astray) > 0 {
		return nil, nil, cli.WithHint(fmt.Errorf("refused: %s names other signers, or another collector, than fleet.toml for:\n  %s", o.file, strings.Join(some(astray), "\n  ")),
			"nothing was signed. ginnelctl plan makes it anew")
	}
	bundles, err := s.client.Bundles(ctx, p.Hashes())
	if err != nil {
		return nil, nil, o.advise(err)
	}
	pushed := func(gateway string) string { g, _ := s.fleet.GenerationOf(gateway); return g.Hash }
	if strange := p.Strange(bundles, s.signers, pushed); len(strange) > 0 {
		return nil, nil, cli.WithHint(fmt.Errorf("refused: in %s the way back is not what these run:\n  %s", o.file, strings.Join(some(strange), "\n  ")),
			"nothing was signed. ginnelctl plan makes it anew")
	}
	return s, p, nil
}

// some is the first few of a list.
func some(list []string) []string {
	const most = 8
	if len(list) > most {
		return append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
	}
	return list
}

// refuse says what keeps a plan from being signed.
func (s *survey) refuse(p *plan.Plan) error {
	if err := s.fleet.CanPush(); err != nil {
		return err
	}
	if p.Has(plan.BadProof) {
		return cli.WithHint(errors.New("refused: the collector shows keys that no gateway of this fleet proved; see \"bad proof\" above"),
			"nothing was signed. --without GATEWAY leaves one out")
	}
	if ps := p.Keys(s.key); len(ps) > 0 {
		lines := make([]string, len(ps))
		for i, k := range ps {
			lines[i] = k.Error()
		}
		return cli.WithHint(fmt.Errorf("refused: public keys that are not the verified ones:\n  %s", strings.Join(some(lines), "\n  ")),
			"nothing was signed. ginnelctl plan makes it anew from keys.csv")
	}
	return nil
}

// handover tells who may sign a push that takes signers out, before anybody is
// asked; an error where nobody may.
func handover(p *plan.Plan) (string, error) {
	leave, stay := p.Handover()
	switch {
	case len(leave) == 0:
		return "", nil
	case len(stay) == 0:
		return "", cli.WithHint(fmt.Errorf("refused: it takes %s out of the signers, and nobody stays whom the gateways trust now, to sign the way back", called(leave, " and ")),
			"change one signer, push, then the other")
	}
	return cli.Wrap(fmt.Sprintf("No signer any more: %s. %s must sign this push, as its way back is signed with it.", called(leave, " and "), called(stay, " or ")), width, "    ") + "\n", nil
}

// called names signers for people.
func called(all bundle.Signers, joint string) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = cmp.Or(s.Name, s.Fingerprint())
	}
	return strings.Join(names, joint)
}

// ask shows what is about to be done, and waits for a yes.
func (o *pushOrder) ask(std cli.IO, p *plan.Plan) error {
	rings := strings.Join(p.Rollout.Rings, ", ")
	if o.noRings {
		rings = p.Rollout.Rings[0] + ", then all at once"
	}
	if p.Rollout.Window != "" {
		rings += "; " + p.Rollout.Window
	}
	question := fmt.Sprintf("Push to %s (%s)?", counted(len(p.Changes), "gateway"), rings)
	return confirm(std, o.yes, question, "nothing was signed, nothing was sent")
}

// send signs, and starts the rollout.
func (o *pushOrder) send(ctx context.Context, std cli.IO, s *survey, p *plan.Plan) (centre.Rollout, error) {
	rollout, err := o.sign(ctx, std, s, p)
	if err != nil {
		return centre.Rollout{}, err
	}
	r, err := s.client.StartRollout(ctx, rollout)
	if err != nil {
		return r, o.beaten(ctx, s.client, err)
	}
	return r, nil
}

// sign signs a plan, and notes its generations as used.
func (o *pushOrder) sign(ctx context.Context, std cli.IO, s *survey, p *plan.Plan) (centre.NewRollout, error) {
	key, err := signing.Open(ctx, o.signWith, s.signers, std)
	if leave, stay := p.Handover(); err != nil && len(leave) > 0 {
		return centre.NewRollout{}, cli.WithHint(fmt.Errorf("%w; and whom a push takes out of the signers cannot sign its way back", err), called(stay, " or ")+" can push it")
	}
	if err != nil {
		return centre.NewRollout{}, err
	}
	if strange := p.NotSigner(key.By); len(strange) > 0 {
		return centre.NewRollout{}, cli.WithHint(fmt.Errorf("%s would refuse it: %s is not among the signers that it trusts now", strange[0], key.By.Name),
			"a signer of now pushes the change of signers")
	}
	signatures := p.Signatures()
	if key.Touched() && signatures > 1 {
		fmt.Fprintf(std.Err, "ginnelctl: %d signatures, and the key wants to be touched for each\n", signatures)
	}
	rollout, err := p.NewRollout(o.noRings, func(text []byte) ([]byte, error) {
		b, err := key.Sign(ctx, text, bundle.Config)
		return b.Bytes(), err
	})
	if err != nil {
		return centre.NewRollout{}, err
	}
	// Before it is sent: who knows where a bundle got to that seemed lost.
	for gateway, ref := range p.Generations() {
		s.fleet.SetGeneration(fleet.Generation{Gateway: gateway, Number: ref.Generation, Hash: ref.Hash})
	}
	return rollout, s.fleet.Save()
}

// beaten says who was first, where somebody was.
func (o *pushOrder) beaten(ctx context.Context, c *centre.Client, err error) error {
	if !centre.IsConflict(err) {
		return cli.WithHint(o.advise(err), "whether it arrived: ginnelctl rollout status. Its generations are used up: push makes the plan anew")
	}
	all, listErr := c.Rollouts(ctx)
	if listErr != nil || len(all) == 0 {
		return o.advise(err)
	}
	r := all[0]
	if onItsWay(r) {
		return cli.WithHint(fmt.Errorf("%s was first: rollout %s, %s, is %s", r.By, r.ID, r.Name, stateText(r)),
			"wait for it (ginnelctl rollout status --wait), or agree with "+r.By+" to end it (ginnelctl rollout abort), then push again")
	}
	said, _ := errors.AsType[*centre.Error](err)
	return cli.WithHint(fmt.Errorf("something else is wanted since the plan was made: %s", said.Message),
		fmt.Sprintf("the last push was rollout %s by %s; git pull, look, and push again", r.ID, r.By))
}
