package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/keychain"
	"github.com/ginnel/ginnel/cmd/internal/plan"
)

// survey is a fleet's files and what its gateways say, side by side.
type survey struct {
	fleet   *fleet.Fleet
	client  *centre.Client
	states  map[string]centre.GatewayState
	signers bundle.Signers
	mine    string   // the one organisation of a scoped operator; empty: all
	without []string // gateways that are left out
	now     time.Time

	proved map[string]keychain.Merged // what the gateways' proofs add to keys.csv
	looks  []plan.Look                // of keys
	wrote  []string                   // what was put into which file
}

// take reads the files in dir, asks the collector, and verifies what gateways
// proved of their keys. Nothing is written yet.
func (d *desk) take(ctx context.Context, dir string, without []string) (*survey, error) {
	s, err := d.files(dir, without)
	if err != nil {
		return nil, err
	}
	return s, s.ask(ctx, d)
}

// files reads the files in dir; nobody was asked yet.
func (d *desk) files(dir string, without []string) (*survey, error) {
	s := &survey{states: map[string]centre.GatewayState{}, without: without, now: time.Now(), proved: map[string]keychain.Merged{}}
	var err error
	if s.fleet, err = fleet.Load(dir); err != nil {
		return nil, err
	}
	if s.signers, err = bundle.ParseSigners(s.fleet.Signers); err != nil {
		return nil, err
	}
	if s.mine, err = d.organisation(); err != nil {
		return nil, err
	}
	s.client, err = d.client()
	return s, err
}

// ask asks the collector, and verifies what gateways proved.
func (s *survey) ask(ctx context.Context, d *desk) error {
	states, err := s.client.Fleet(ctx)
	if err != nil {
		return d.advise(err)
	}
	for _, g := range states {
		s.states[g.Name] = g
	}
	shown, err := s.client.Keys(ctx)
	if err != nil {
		return d.advise(err)
	}
	return s.prove(shown)
}

// organisation is the one that the operator's certificate is for; empty: all.
func (d *desk) organisation() (string, error) {
	if d.cert == "" && d.key == "" {
		return "", nil
	}
	pair, err := d.pair()
	if err != nil {
		return "", err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("operator's certificate: %w", err)
	}
	return identity.URN(leaf.URIs, "urn:ginnel:organisation:"), nil
}

// pair is the operator's certificate and its key.
func (d *desk) pair() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cmp.Or(d.cert, d.key), cmp.Or(d.key, d.cert))
	if err != nil {
		return pair, cli.WithHint(fmt.Errorf("operator's certificate: %w", err), "--cert and --key name PEM files that belong together")
	}
	return pair, nil
}

// others says whether a gateway is not this operator's to look at.
func (s *survey) others(g fleet.Gateway) bool {
	return slices.Contains(s.without, g.Name) || s.mine != "" && !slices.Contains(g.Organisations, s.mine)
}

// prove verifies the chain of every gateway's keys, here and now: whatever the
// collector shows, only what the chain holds goes on.
func (s *survey) prove(shown []centre.Keys) error {
	store, err := keychain.OpenStore()
	if err != nil {
		return err
	}
	proofs := map[string][]identity.Proof{}
	for _, k := range shown {
		proofs[k.Gateway] = k.Proofs
	}
	for _, g := range s.fleet.Gateways() {
		if s.others(g) {
			continue
		}
		secrets, err := store.Secrets(g.Name)
		if err != nil {
			return err
		}
		known := s.fleet.KeysOf(g.Name)
		st, err := keychain.Verify(g.Name, proofs[g.Name], secrets, known)
		bad, isBad := errors.AsType[*keychain.Error](err)
		switch {
		case isBad:
			s.looks = append(s.looks, plan.Look{Kind: plan.BadProof, Gateway: g.Name, Text: bad.Error(), Hint: bad.Hint()})
		case errors.Is(err, keychain.ErrWaiting):
		case err != nil:
			return err
		default:
			m := keychain.Merge(known, st, s.now)
			m.New = slices.DeleteFunc(m.New, func(k fleet.Key) bool { return k.Network != fleet.Device && !slices.Contains(g.Networks, k.Network) })
			s.proved[g.Name] = m
			s.lookAtKeys(m)
		}
	}
	return nil
}

// lookAtKeys shows what a person has to compare, or to approve.
func (s *survey) lookAtKeys(m keychain.Merged) {
	for _, k := range m.New {
		if k.Network == fleet.Device {
			continue // on no sheet: it is what the others hang on
		}
		when := ""
		if e := s.states[k.Gateway].Enrolled; !e.IsZero() {
			when = "enrolled " + clock(e, s.now, s.now.Location()) + "; "
		}
		s.looks = append(s.looks, plan.Look{Kind: plan.NewKey, Gateway: k.Gateway, Head: fmt.Sprintf("%s %s  %s", k.Gateway, k.Network, k.Fingerprint),
			Text: when + "must equal the sheet that was signed on site"})
	}
	for _, c := range m.Changed {
		was := "none"
		if c.Old.Public != "" {
			was = c.Old.Fingerprint
		}
		network := c.New.Network
		if network == fleet.Device {
			network = "device"
		}
		s.looks = append(s.looks, plan.Look{Kind: plan.ChangedKey, Gateway: c.New.Gateway, Head: fmt.Sprintf("%s %s  %s", c.New.Gateway, network, c.New.Fingerprint),
			Text: "was " + was + "; not used until it is approved", Hint: "ginnelctl keys approve " + c.New.Gateway})
	}
}

// record puts new keys into keys.csv, and addresses that were given into
// addresses.csv: looked at in git, by people.
func (s *survey) record() error {
	keys := 0
	for _, m := range s.proved {
		for _, k := range m.New {
			s.fleet.SetKey(k)
			keys++
		}
	}
	given := len(s.fleet.Given())
	if keys == 0 && given == 0 {
		return nil
	}
	if err := s.fleet.Save(); err != nil {
		return err
	}
	if keys > 0 {
		s.wrote = append(s.wrote, counted(keys, "new row")+" in keys.csv")
	}
	if given > 0 {
		s.wrote = append(s.wrote, fmt.Sprintf("the addresses of %s in addresses.csv", counted(given, "gateway")))
	}
	return nil
}

// wroteText says what record wrote; empty: nothing.
func (s *survey) wroteText() string {
	if len(s.wrote) == 0 {
		return ""
	}
	return cli.Wrap("Written: "+strings.Join(s.wrote, ", ")+". Look at them, and commit them.", width, "    ") + "\n"
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// plan makes the plan of what was taken.
func (s *survey) plan(ctx context.Context) (*plan.Plan, error) {
	in := plan.Input{Fleet: fleetName(s.fleet.Dir, s.fleet.Digest()), Looks: s.looks, Signers: s.signers, Now: s.now, Bundles: s.client.Bundles,
		Rollout: plan.Rollout{Rings: s.fleet.Rings(), Window: s.fleet.Rollout.Window, Pause: s.fleet.Rollout.Pause, Organisations: map[string]string{}}}
	for _, n := range s.fleet.Networks {
		if s.mine == "" || n.Organisation == s.mine {
			in.Rollout.Organisations[n.Name] = n.Organisation
		}
	}
	if s.mine != "" {
		in.Mine = func(network string) bool { return in.Rollout.Organisations[network] != "" }
	}
	wanted := s.fleet.Wanted()
	for _, g := range s.fleet.Gateways() {
		w, err := s.want(g, wanted[g.Name])
		if err != nil {
			return nil, err
		}
		in.Wants = append(in.Wants, w)
	}
	for _, g := range s.states {
		in.States = append(in.States, g)
	}
	p, err := plan.Make(ctx, in)
	if err == nil {
		p.LookBack(s.key)
	}
	return p, err
}

// want is what the files want of a gateway.
func (s *survey) want(g fleet.Gateway, waiting []string) (plan.Want, error) {
	w := plan.Want{Gateway: g.Name, Site: g.Site, Hub: g.Hub, Networks: g.Networks, Ring: g.Ring, Window: g.Window, Waiting: waiting, Others: s.others(g)}
	if g.Hub {
		w.Site = ""
	}
	if gen, ok := s.fleet.GenerationOf(g.Name); ok {
		w.Pushed = centre.ConfigRef{Generation: gen.Number, Hash: gen.Hash}
	}
	if w.Others || len(waiting) > 0 && len(waiting) == len(g.Networks) { // nothing can be written yet
		return w, nil
	}
	desired, err := s.fleet.Compile(g.Name)
	if ps, ok := errors.AsType[config.Problems](err); ok {
		w.Refused = refusals(g.Name, ps)
		return w, nil
	}
	if err != nil {
		return w, err
	}
	w.Text = desired.Text
	state := s.states[g.Name]
	w.Refused = refusals(g.Name, s.fleet.Collisions(g.Name, state.Host, state.LastSeen))
	return w, nil
}

// refusals are problems as a plan shows them: the row that could be changed.
func refusals(gateway string, ps config.Problems) (looks []plan.Look) {
	for _, p := range ps {
		where := p.File
		if p.Line > 0 {
			where += fmt.Sprintf(":%d", p.Line)
		}
		if p.Path != "" {
			where += " " + p.Path
		}
		looks = append(looks, plan.Look{Kind: plan.Refused, Gateway: gateway, Text: gateway + ", " + where + ": " + p.Message, Hint: p.Hint})
	}
	return looks
}

// key is the verified public key of a gateway in a network.
func (s *survey) key(gateway, network string) string {
	k, _ := s.fleet.KeyOf(gateway, network)
	return k.Public
}

// pushed is the highest generation that was signed for a gateway from these
// files.
func (s *survey) pushed(gateway string) uint64 {
	g, _ := s.fleet.GenerationOf(gateway)
	return g.Number
}
