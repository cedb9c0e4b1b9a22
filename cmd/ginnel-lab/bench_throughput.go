package main

import (
	"context"
	"encoding/json"
	"fmt"
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
	for _, n := range []*netns.Node{p.hub, p.site} {
		agent, err := p.start(n, "ginnel", "run")
		if err != nil {
			return err
		}
		defer end(agent)
	}
	server, err := p.start(p.hub, "iperf3", "-s")
	if err != nil {
		return err
	}
	defer end(server)
	for _, target := range []string{overlayOf(1, true), overlayOf(number, true)} {
		if _, err := p.firstAnswer(within(ctx, 30*time.Second), target); err != nil {
			return err
		}
	}

	var ours, theirs []float64
	for i := range pick(s, 20, 3) {
		us, them, err := inTurn(i,
			func() (float64, error) {
				return p.iperf(ctx, overlayOf(1, false), overlayOf(1, true), pick(s, 3, 1))
			},
			func() (float64, error) {
				return p.iperf(ctx, overlayOf(number, false), overlayOf(number, true), pick(s, 3, 1))
			})
		if err != nil {
			return err
		}
		ours, theirs = append(ours, us), append(theirs, them)
		fmt.Printf("  pair %2d  %6.0f  %6.0f Mbit/s\n", i+1, us, them)
	}
	s.row(beside("TCP site to hub, userspace", "Mbit/s", "plain wireguard-go", ">= 0.97", ours, theirs,
		func(r spread) bool { return r.High >= 0.97 }))
	return nil
}

// iperf measures one run in Mbit/s, as the receiver counts it.
func (p *pair) iperf(ctx context.Context, from, to string, seconds int) (float64, error) {
	out, err := p.site.Run(ctx, "iperf3", "-c", to, "-B", from, "-t", fmt.Sprint(seconds), "-J")
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
