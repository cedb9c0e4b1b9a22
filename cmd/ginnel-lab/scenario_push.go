package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/swarm"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// playPush pushes to many simulated gateways at once, and then to a county of
// them ring by ring.
func playPush(ctx context.Context, s *stage) error {
	signers := newOperators()
	n := pick(s, 1000, 40)
	h, err := startHerd(ctx, s, n, signers.lines()...)
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.live(ctx, n); err != nil {
		return err
	}
	p := &pusher{herd: h, operators: signers, limit: pick(s, 15*time.Minute, 3*time.Minute)}
	// The first gives each gateway a config to go back to; the second is measured.
	for _, what := range []string{"at first", "as a change"} {
		all, began, err := p.push(ctx, n, []string{"hubs", "all"}, func(int) int { return 1 }, time.Second)
		if err != nil {
			return err
		}
		s.applied("a push to all at once, "+what, all, func(centre.PushState) time.Time { return began }, n, p.hash)
	}
	rings := []string{"hubs", "canary", "5%", "25%", "rest"}
	m, within := pick(s, 390, 40), pick(s, time.Minute, 2*time.Second)
	all, began, err := p.push(ctx, m, rings, func(i int) int { return ringOf(i, m) }, within)
	if err != nil {
		return err
	}
	turns, inOrder := turnsOf(all, rings[1:], began, within)
	s.applied("a push in rings, each ring from its turn", all, func(g centre.PushState) time.Time { return turns[g.Ring] }, m, p.hash)
	s.holds("no gateway had it before the ring before had proved it", inOrder, fmt.Sprintf("%d gateways in %s, %v between rings, all in %.0f s",
		m, strings.Join(rings[1:], ", "), within, last(all).Sub(began).Seconds()))
	return nil
}

// turnsOf is when each ring's turn came: as long after the last of the ring before
// as that is watched. inOrder: nobody was before their turn, and no ring is empty.
func turnsOf(all []centre.PushState, rings []string, began time.Time, within time.Duration) (turns map[string]time.Time, inOrder bool) {
	turns, inOrder = map[string]time.Time{}, true
	turn := began
	for _, ring := range rings {
		turns[ring] = turn
		var in []centre.PushState
		for _, g := range all {
			if g.Ring == ring {
				in = append(in, g)
				inOrder = inOrder && g.Since.After(turn)
			}
		}
		if len(in) == 0 {
			return turns, false
		}
		turn = last(in).Add(within)
	}
	return turns, inOrder
}

// ringOf is the ring of gateway i of m: a canary, then 5 %, 25 % and the rest.
func ringOf(i, m int) int {
	switch share := float64(i) / float64(m); {
	case i == 0:
		return 1
	case share < 0.05:
		return 2
	case share < 0.3:
		return 3
	}
	return 4
}

func last(all []centre.PushState) time.Time {
	return slices.MaxFunc(all, func(a, b centre.PushState) int { return a.Since.Compare(b.Since) }).Since
}

// applied adds the rows of a push that has ended.
func (s *stage) applied(what string, all []centre.PushState, from func(centre.PushState) time.Time, n int, wanted func(string) string) {
	var took []time.Duration
	for _, g := range all {
		if g.State == "applied" && g.Config.Hash == wanted(g.Gateway) {
			took = append(took, g.Since.Sub(from(g)))
		}
	}
	slices.Sort(took)
	s.zero(what+": gateways that have not applied it", n-len(took), "gateways", fmt.Sprintf("of %d", n))
	if len(took) == 0 {
		return
	}
	p50, p99 := took[len(took)/2], took[(len(took)*99-1)/100]
	s.row(result{Name: what + ": p99 from push to APPLIED", Value: p99.Seconds(), Unit: "s", Aim: "<= 15", Met: p99 <= 15*time.Second,
		Detail: fmt.Sprintf("%d gateways, p50 %.1f s, p99 %.1f s, the last %.1f s; idle heartbeat %v", len(took), p50.Seconds(), p99.Seconds(), took[len(took)-1].Seconds(), herdBeat)})
}

// operators are two keys that sign.
type operators [2]bundletest.Operator

func newOperators() operators {
	return operators{bundletest.New("operator-1"), bundletest.New("operator-2")}
}

func (o operators) lines() []string { return []string{o[0].Line(), o[1].Line()} }

// pusher pushes generation after generation.
type pusher struct {
	*herd
	operators  operators
	limit      time.Duration // of one rollout
	generation uint64        // the newest
	now        map[string]centre.ConfigRef
}

// hash is what is wanted of a gateway.
func (p *pusher) hash(gateway string) string { return p.now[gateway].Hash }

// push pushes a new config to the first n gateways, and gives how each fared and
// when it began.
func (p *pusher) push(ctx context.Context, n int, rings []string, ring func(int) int, within time.Duration) ([]centre.PushState, time.Time, error) {
	p.generation += 2
	before := p.now
	p.now = map[string]centre.ConfigRef{}
	order := centre.NewRollout{Name: fmt.Sprintf("swarm %d", p.generation), Rings: rings, Pause: centre.Pause{Gateways: 1, Share: 0.02, Within: within.Seconds()}}
	for i := range n {
		name := swarm.Name(i)
		there, err := p.sign(name, i, p.generation-1, p.generation)
		if err != nil {
			return nil, time.Time{}, err
		}
		back, err := p.sign(name, i, p.generation, p.generation-2)
		if err != nil {
			return nil, time.Time{}, err
		}
		p.now[name] = centre.ConfigRef{Generation: p.generation - 1, Hash: there.Hash()}
		order.Pushes = append(order.Pushes, centre.Push{Gateway: name, Ring: ring(i), Bundle: there.Bytes(), Back: back.Bytes(), Over: before[name]})
	}
	began := time.Now()
	r, err := p.API.StartRollout(ctx, order)
	if err != nil {
		return nil, began, err
	}
	for r.State == centre.RolloutRunning && time.Since(began) < p.limit {
		select {
		case <-ctx.Done():
			return nil, began, context.Cause(ctx)
		case <-time.After(time.Second):
		}
		if r, err = p.API.Rollout(ctx, r.ID); err != nil {
			return nil, began, err
		}
	}
	if r.State != centre.RolloutDone {
		return nil, began, fmt.Errorf("the rollout is %s: %s %s; rings %+v", r.State, r.Reason, r.Waits, r.Rings)
	}
	return r.Gateways, began, nil
}

// sign makes the config of a gateway; what it carries says by which push.
func (p *pusher) sign(name string, i int, generation, push uint64) (bundle.Bundle, error) {
	text := fmt.Sprintf(`gateway = %q
generation = %d
signers = ["%s"]

[[network]]
name = %q
address = ["100.64.%d.%d/32"]
lan = ["192.168.%d.0/24"]

[[network.hub]]
name = "hub-north"
public_key = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
endpoints = ["hub-north.example.net:51820"]
allowed_ips = ["100.64.0.1/32", "198.51.100.%d/32"]
`, name, generation, strings.Join(p.operators.lines(), `", "`), swarm.Network, 1+i/250, 1+i%250, i%250, push%250)
	return bundle.Sign([]byte(text), bundle.Config, p.operators[0])
}
