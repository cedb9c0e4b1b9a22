package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// desk is where a scenario's configs are signed, and pushed from. Its gateways
// ran by hand, are enrolled, and are then taken over by their first push.
type desk struct {
	*county.County
	api    *centre.Client
	key    ssh.Signer
	lines  []string          // of signers
	texts  map[string]string // by gateway: the config without what a push adds
	newest uint64            // generation
	trial  time.Duration
}

// openDesk is openDeskOf some sites of the whole county.
func openDesk(ctx context.Context, s *stage, trial time.Duration, sites ...string) (*desk, error) {
	return openDeskOf(ctx, s, trial, county.Whole().Only(sites...))
}

// openDeskOf brings a county up and pushes to its sites what they run already. All
// of their checks are required.
func openDeskOf(ctx context.Context, s *stage, trial time.Duration, p county.Plan) (*desk, error) {
	d := &desk{texts: map[string]string{}, trial: trial}
	for _, name := range []string{"alice", "bob"} {
		o := bundletest.New(name)
		d.key, d.lines = o, append(d.lines, o.Line())
	}
	c, err := buildCounty(ctx, p.ByHand(), "scenario-"+s.name)
	if err != nil {
		return nil, err
	}
	d.County, c.Signers = c, d.lines
	if err := d.takeOver(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return d, nil
}

func (d *desk) takeOver(ctx context.Context) error {
	if err := bringUp(ctx, d.County); err != nil {
		return err
	}
	var err error
	if d.api, err = d.Collector.API(); err != nil {
		return err
	}
	pushed := map[string]string{}
	for _, site := range d.Sites {
		text, err := site.Node.ReadFile(desired)
		if err != nil {
			return err
		}
		d.texts[site.Gateway()] = strings.ReplaceAll(text, "[[check]]\n", "[[check]]\nrequired = true\n")
		pushed[site.Gateway()] = d.texts[site.Gateway()]
		if _, err := site.Node.Run(ctx, "rm", desired); err != nil { // as packaging/README.md says
			return err
		}
	}
	return d.settle(ctx, pushed)
}

// takeOverHub enrols a hub, and pushes a config to it that has what it runs by
// hand and more.
func (d *desk) takeOverHub(ctx context.Context, h *county.Hub, more string) error {
	text, err := h.Node.ReadFile(desired)
	if err != nil {
		return err
	}
	if err := d.EnrolHub(ctx, h); err != nil {
		return err
	}
	if _, err := h.Node.Run(ctx, "rm", desired); err != nil {
		return err
	}
	d.texts[h.Name()] = text + more
	return d.settle(ctx, map[string]string{h.Name(): text + more})
}

// settle pushes to gateways and waits until all have taken it.
func (d *desk) settle(ctx context.Context, texts map[string]string) error {
	r, err := d.push(ctx, texts, nil)
	if err != nil {
		return err
	}
	if err := d.await(within(ctx, 2*time.Minute), r.ID, func(r centre.Rollout) bool {
		applied := 0
		for _, g := range r.Gateways {
			if g.State == "applied" {
				applied++
			}
		}
		return applied == len(texts)
	}); err != nil {
		return err
	}
	_, err = d.api.MoveRollout(ctx, r.ID, centre.MoveAbort) // else it looks on for what got worse
	return err
}

// bundle signs a gateway's config with the next generation.
func (d *desk) bundle(text string) ([]byte, error) {
	d.newest++
	head := fmt.Sprintf("generation = %d\ntrial = %q\nsigners = [%q, %q]\n", d.newest, d.trial, d.lines[0], d.lines[1])
	b, err := bundle.Sign([]byte(head+text), bundle.Config, d.key)
	return b.Bytes(), err
}

// push starts a rollout to gateways; those named in later wait for the others.
func (d *desk) push(ctx context.Context, texts map[string]string, later []string) (centre.Rollout, error) {
	running := map[string]centre.ConfigRef{}
	all, err := d.api.Fleet(ctx)
	if err != nil {
		return centre.Rollout{}, err
	}
	for _, g := range all {
		running[g.Name] = g.Running
	}
	n := centre.NewRollout{Name: "lab", Rings: []string{"hubs", "canary", "rest"}, Pause: centre.Pause{Gateways: 1, Within: 600}}
	for gateway, text := range texts {
		p := centre.Push{Gateway: gateway, Ring: 1, Over: running[gateway]}
		for _, l := range later {
			if l == gateway {
				p.Ring = 2
			}
		}
		if p.Bundle, err = d.bundle(text); err != nil {
			return centre.Rollout{}, err
		}
		if p.Back, err = d.bundle(d.texts[gateway]); err != nil {
			return centre.Rollout{}, err
		}
		n.Pushes = append(n.Pushes, p)
	}
	return d.api.StartRollout(ctx, n)
}

// await waits until a rollout is as wanted.
func (d *desk) await(ctx context.Context, id string, want func(centre.Rollout) bool) error {
	var r centre.Rollout
	for {
		now, err := d.api.Rollout(ctx, id)
		if err == nil {
			r = now
		}
		if err == nil && want(r) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the rollout is %s (%s): %+v: %w", r.State, r.Reason, r.Gateways, errors.Join(err, context.Cause(ctx)))
		}
		sleep(ctx, 100*time.Millisecond)
	}
}

// awaitConfig waits until a gateway says of its newest config what is wanted.
func (d *desk) awaitConfig(ctx context.Context, s *county.Site, want func(block.ConfigSnapshot) bool) (block.ConfigSnapshot, error) {
	st, err := awaitStatus(ctx, s.Node, func(st block.Snapshot) bool { return want(st.Config) })
	if err != nil {
		err = fmt.Errorf("%w: its config: %+v, trial %+v", err, st.Config, st.Config.Trial)
	}
	return st.Config, err
}

// apply carries a signed config to a gateway on a stick, and has it tried. The exit
// code is that of ginnel apply.
func (d *desk) apply(ctx context.Context, at *county.Agent, raw []byte) (code int, said string, err error) {
	const stick = "/run/stick.bundle"
	if err := at.Node.WriteFile(stick, string(raw), 0o600); err != nil {
		return 0, "", err
	}
	out, err := at.Node.Run(within(ctx, 3*d.trial+time.Minute), "ginnel", "apply", stick)
	if f, ok := errors.AsType[*netns.Failure](err); ok {
		return f.Code, out + f.Stderr, nil
	}
	return 0, out, err
}
