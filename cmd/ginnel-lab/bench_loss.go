package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// benchLoss asks 1,000 targets once a second over a line that loses nothing, and
// then over one that loses a known share: what the agent says is to be that.
func benchLoss(ctx context.Context, s *stage) error {
	const targets = 1000
	p, err := newProbing(s, &wan.Line{Delay: 2500 * time.Microsecond})
	if err != nil {
		return err
	}
	if err := p.pings(targets); err != nil {
		return err
	}
	if err := p.lossless(ctx, s); err != nil {
		return err
	}
	// Each way loses half of it. The agent's figures reach back for 5 minutes.
	p.link.Set(wan.Line{Delay: 2500 * time.Microsecond, Loss: 1 - 0.994987437})
	before := p.lost()
	agent, err := p.agent(ctx)
	if err != nil {
		return err
	}
	defer end(agent)
	sleep(ctx, pick(s, 105*time.Second, 15*time.Second))
	f, err := p.figures(ctx)
	if err != nil {
		return err
	}
	share := 100 * float64(f.Sent-f.Received) / float64(f.Sent)
	s.row(result{Name: "loss told, of 1 % injected", Value: share, Unit: "%", Aim: "1 +- 0.1", Met: share >= 0.9 && share <= 1.1,
		Detail: fmt.Sprintf("%d of %d probes; the line lost %d packets meanwhile; %+v", f.Sent-f.Received, f.Sent, p.lost()-before, f.Odd)})
	return nil
}

// lossless makes the row of what is lost where nothing is.
func (p *probing) lossless(ctx context.Context, s *stage) error {
	agent, err := p.agent(ctx)
	if err != nil {
		return err
	}
	defer end(agent)
	var sent, lost int
	var odd block.OddCount
	length := pick(s, 10*time.Minute, 20*time.Second)
	for rest := length; rest > 0; rest -= 5 * time.Minute {
		sleep(ctx, min(rest, 5*time.Minute)-2*time.Second) // what it says reaches back for 5 minutes
		f, err := p.figures(ctx)
		if err != nil {
			return err
		}
		sent, lost = sent+f.Sent, lost+f.Sent-f.Received
		odd.Late, odd.Duplicate, odd.Unsent = odd.Late+f.Odd.Late, odd.Duplicate+f.Odd.Duplicate, odd.Unsent+f.Odd.Unsent
	}
	s.row(result{Name: "loss told, of none", Value: float64(lost), Unit: "probes", Aim: "0", Met: lost == 0 && sent > 0,
		Detail: fmt.Sprintf("1,000 targets at 1/s for %v: %d probes, %+v; the line lost %d packets", length, sent, odd, p.lost())})
	return nil
}

// lost is what the line lost, both ways.
func (p *probing) lost() uint64 {
	return p.link.Count(wan.Out).Lost + p.link.Count(wan.In).Lost
}

// figures are those of all checks together.
func (p *probing) figures(ctx context.Context) (all block.Figures, err error) {
	out, err := p.site.Run(ctx, "ginnel", "status", "--json")
	if f, ok := errors.AsType[*netns.Failure](err); err != nil && (!ok || out == "" || f.Code > 2) {
		return all, err
	}
	var told block.Snapshot
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		return all, err
	}
	for _, c := range told.Checks {
		all.Sent, all.Received = all.Sent+c.Sent, all.Received+c.Received
		all.Odd.Late += c.Odd.Late
		all.Odd.Duplicate += c.Odd.Duplicate
		all.Odd.Unsent += c.Odd.Unsent
	}
	if all.Sent == 0 {
		return all, errors.New("the agent has asked nothing")
	}
	return all, nil
}

// benchConnects looks at what an agent needs for 500 TCP connects a second.
func benchConnects(ctx context.Context, s *stage) error {
	const many = 500
	p, err := newProbing(s, nil)
	if err != nil {
		return err
	}
	listener, err := p.hub.Listen("tcp", "0.0.0.0:5201")
	if err != nil {
		return err
	}
	defer listener.Close()
	go takeAll(listener)
	if err := p.asks(many, "tcp", ":5201", ""); err != nil {
		return err
	}
	return p.besidePeers(ctx, s, "TCP connects", 6000, many, []probePeer{{
		name: "blackbox_exporter", args: []string{unpacked + "bin/prometheus-blackbox-exporter", "--config.file=/run/blackbox.yml", "--web.listen-address=" + scraped},
		aim: 1, rate: many, ask: &scrape{module: "tcp", suffix: ":5201"},
	}})
}

// takeAll accepts connections and closes them, until the listener is closed.
func takeAll(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}
