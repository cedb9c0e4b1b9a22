package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// benchThroughput sends TCP from site to hub through our data plane and through
// the plain program, in alternation.
func benchThroughput(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 1, ""); err != nil {
		return err
	}
	const number = 9 // of the plain network
	if err := p.plain(ctx, number); err != nil {
		return err
	}
	if err := p.wgQuick(ctx, p.site, "up"); err != nil {
		return err
	}
	down, err := p.up(ctx, 1, number)
	if err != nil {
		return err
	}
	defer down()
	ours, theirs, err := p.iperfPairs(ctx, s, 1, number)
	if err != nil {
		return err
	}
	s.row(beside("TCP site to hub, userspace", "Mbit/s", "plain wireguard-go", atLeast(0.97), ours, theirs))
	return nil
}

// up starts both agents and a server at the hub, and waits until the hub answers
// in these networks.
func (p *pair) up(ctx context.Context, networks ...int) (down func(), err error) {
	var running []*exec.Cmd
	down = func() {
		for _, cmd := range running {
			end(cmd)
		}
	}
	for _, start := range []struct {
		at   *netns.Node
		args []string
	}{{p.hub, []string{"ginnel", "run"}}, {p.site, []string{"ginnel", "run"}}, {p.hub, []string{"iperf3", "-s"}}} {
		cmd, err := p.start(start.at, start.args...)
		if err != nil {
			down()
			return nil, err
		}
		running = append(running, cmd)
	}
	if err := p.reached(ctx, networks...); err != nil {
		down()
		return nil, err
	}
	return down, nil
}

// reached waits until the hub answers in these networks.
func (p *pair) reached(ctx context.Context, networks ...int) error {
	for _, network := range networks {
		err := eventually(ctx, 30*time.Second, func() bool {
			_, err := p.site.Run(ctx, "ping", "-c1", "-W1", "-I", overlayOf(network, false), overlayOf(network, true))
			return err == nil
		})
		if err != nil {
			return fmt.Errorf("network %d: %w", network, err)
		}
	}
	return nil
}

// iperfPairs measures from site to hub through two networks in alternation.
func (p *pair) iperfPairs(ctx context.Context, s *stage, one, other int) (us, them []float64, err error) {
	through := func(network int) func() (float64, error) {
		return func() (float64, error) {
			return p.iperf(ctx, overlayOf(network, false), overlayOf(network, true), pick(s, 3, 1))
		}
	}
	return inPairs(s, "Mbit/s", through(one), through(other))
}

// iperf measures one run from the site in Mbit/s, as the receiver counts it.
func (p *pair) iperf(ctx context.Context, from, to string, seconds int, more ...string) (float64, error) {
	return iperf(ctx, p.site, from, to, seconds, more...)
}

func iperf(ctx context.Context, n *netns.Node, from, to string, seconds int, more ...string) (float64, error) {
	out, err := n.Run(ctx, append([]string{"iperf3", "-c", to, "-B", from, "-t", fmt.Sprint(seconds), "-J"}, more...)...)
	if err != nil {
		return 0, err
	}
	var r struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return 0, fmt.Errorf("what iperf3 printed: %w", err)
	}
	return r.End.Received.Rate / 1e6, nil
}
