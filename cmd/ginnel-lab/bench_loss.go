package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
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
	// Each way loses half of it.
	p.link.Set(wan.Line{Delay: 2500 * time.Microsecond, Loss: 1 - 0.994987437})
	t, lost, err := p.counted(ctx, pick(s, 105*time.Second, 15*time.Second))
	if err != nil {
		return err
	}
	share := 100 * (t.asked - t.answered) / t.asked
	s.row(result{Name: "loss told, of 1 % injected", Value: share, Unit: "%", Aim: "1 +- 0.1", Met: share >= 0.9 && share <= 1.1,
		Detail: fmt.Sprintf("%v; the line lost %d packets meanwhile", t, lost)})
	return nil
}

// lossless makes the row of what is lost where nothing is.
func (p *probing) lossless(ctx context.Context, s *stage) error {
	length := pick(s, 10*time.Minute, 20*time.Second)
	t, lost, err := p.counted(ctx, length)
	if err != nil {
		return err
	}
	s.row(result{Name: "loss told, of none", Value: t.asked - t.answered, Unit: "probes", Aim: "0", Met: t.answered == t.asked && t.unknown == 0,
		Detail: fmt.Sprintf("1,000 targets at 1/s for %v: %v; the line lost %d packets", length, t, lost)})
	return nil
}

// totals are an agent's counts since it was started, of all checks together.
type totals struct{ asked, answered, unsent, unknown float64 }

func (t totals) String() string {
	return fmt.Sprintf("%.0f of %.0f probes lost, %.0f not sent, %.0f runs unknown", t.asked-t.answered, t.asked, t.unsent, t.unknown)
}

// counted runs an agent for so long, and gives what it counted and what the line
// lost meanwhile. Its figures for people are of five minutes: its metrics have
// every run.
func (p *probing) counted(ctx context.Context, length time.Duration) (t totals, lost uint64, err error) {
	const metrics = "127.0.0.1:9116"
	if err := p.site.WriteFile("/etc/ginnel/ginnel.toml", county.HostConfig()+fmt.Sprintf("metrics = %q\n", metrics), 0o644); err != nil {
		return t, 0, err
	}
	before := p.lost()
	agent, err := p.agent(ctx)
	if err != nil {
		return t, 0, err
	}
	defer end(agent)
	sleep(ctx, length)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return p.site.Dial(ctx, network, address)
		}}}
	answer, err := client.Get("http://" + metrics + "/metrics")
	if err != nil {
		return t, 0, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, labels, _ := strings.Cut(lines.Text(), "{")
		count := map[string]*float64{"ginnel_check_questions_total": &t.asked, "ginnel_check_answers_total": &t.answered, "ginnel_check_unsent_total": &t.unsent}[name]
		if name == "ginnel_check_runs_total" && strings.Contains(labels, `verdict="unknown"`) {
			count = &t.unknown
		}
		if count == nil {
			continue
		}
		x, err := strconv.ParseFloat(labels[strings.LastIndexByte(labels, ' ')+1:], 64)
		if err != nil {
			return t, 0, fmt.Errorf("the agent's metrics: %w", err)
		}
		*count += x
	}
	if t.asked == 0 {
		return t, 0, errors.New("the agent has asked nothing")
	}
	return t, p.lost() - before, nil
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
