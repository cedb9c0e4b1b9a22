package main

import (
	"context"
	"fmt"
	"sync"
)

// benchNetworks sends TCP from a site with three networks through one of them and
// through all at once, and through the plain program, which has one.
func benchNetworks(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 3, ""); err != nil {
		return err
	}
	const number = 9 // of the plain network
	if err := p.plain(ctx, number); err != nil {
		return err
	}
	if err := p.wgQuick(ctx, p.site, "up"); err != nil {
		return err
	}
	down, err := p.up(ctx, 1, 2, 3, number)
	if err != nil {
		return err
	}
	defer down()
	ours, theirs, err := p.iperfPairs(ctx, s, 1, number)
	if err != nil {
		return err
	}
	s.row(beside("TCP through one of three networks", "Mbit/s", "plain wireguard-go", atLeast(0.97), ours, theirs))

	// A server takes one client at a time.
	for port := range 2 {
		server, err := p.start(p.hub, "iperf3", "-s", "-p", fmt.Sprint(5202+port))
		if err != nil {
			return err
		}
		defer end(server)
	}
	ours, theirs, err = inPairs(s, "Mbit/s",
		func() (float64, error) { return p.three(ctx, s) },
		func() (float64, error) {
			return p.iperf(ctx, overlayOf(number, false), overlayOf(number, true), pick(s, 3, 1))
		})
	if err != nil {
		return err
	}
	s.row(beside("TCP through three networks at once, in sum", "Mbit/s", "plain wireguard-go with one", atLeast(0.9), ours, theirs))
	return nil
}

// three sends through all networks at once, and gives the sum in Mbit/s.
func (p *pair) three(ctx context.Context, s *stage) (sum float64, err error) {
	var wg sync.WaitGroup
	var rates [3]float64
	var failed [3]error
	for i := range rates {
		wg.Go(func() {
			rates[i], failed[i] = p.iperf(ctx, overlayOf(i+1, false), overlayOf(i+1, true), pick(s, 3, 1), "-p", fmt.Sprint(5201+i))
		})
	}
	wg.Wait()
	for i := range rates {
		if failed[i] != nil {
			return 0, failed[i]
		}
		sum += rates[i]
	}
	return sum, nil
}
