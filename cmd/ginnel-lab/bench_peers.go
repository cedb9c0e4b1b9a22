package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// probePeer is another program that asks what our checks ask.
type probePeer struct {
	name string
	args []string
	aim  float64       // what our figure should be, in theirs
	rate int           // probes a second
	ask  *scrape       // a program that asks only when it is asked; nil: another
	fork time.Duration // from one start of a program to the next; 0: it runs all the time
}

// scrape is how Prometheus would ask for probes.
type scrape struct {
	module, suffix string
}

// scraped is where such a program listens.
const scraped = "127.0.0.1:9115"

// unpacked is where .ci/needs puts what it does not install.
const unpacked = netns.Bin + "/peers/usr/"

// echoPeers ask n targets once a second each.
func echoPeers(n int) []probePeer {
	var targets []string
	for i := range n {
		targets = append(targets, farTarget(i).String())
	}
	return []probePeer{
		{name: "fping", args: append([]string{"fping", "-q", "-l", "-p", "1000", "-i", "1"}, targets...), aim: 0.8, rate: n},
		{name: "pro-bing", args: append([]string{"pro-bing"}, targets...), aim: 1, rate: n},
		{name: "smokeping_prober", args: append([]string{unpacked + "bin/prometheus-smokeping-prober", "--web.listen-address=127.0.0.1:9374", "--ping.interval=1s"}, targets...), aim: 1, rate: n},
		{name: "blackbox_exporter", args: []string{unpacked + "bin/prometheus-blackbox-exporter", "--config.file=/run/blackbox.yml", "--web.listen-address=" + scraped}, aim: 1, rate: n,
			ask: &scrape{module: "icmp"}},
		{name: "check_icmp", args: []string{"/usr/lib/nagios/plugins/check_icmp", "-n", "1", targets[0]}, aim: 1, rate: 100, fork: 10 * time.Millisecond},
	}
}

// perSecond starts the peer, lets it settle, and measures it.
func (peer probePeer) perSecond(ctx context.Context, p *probing, s *stage) (float64, error) {
	if peer.fork > 0 {
		return peer.forked(ctx, p, s)
	}
	if peer.ask != nil {
		if err := p.blackboxConfig(); err != nil {
			return 0, err
		}
	}
	cmd, err := p.start(p.site, peer.args...)
	if err != nil {
		return 0, err
	}
	defer end(cmd)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	failed := make(chan error, 1)
	if peer.ask != nil {
		if err := peer.ask.listens(ctx, p); err != nil {
			return 0, err
		}
		wg.Go(func() { failed <- peer.ask.at(asking, p, peer.rate, nil) })
	}
	sleep(ctx, 5*time.Second)
	n, err := p.perSecond(ctx, s, cmd, peer.rate)
	stop()
	if peer.ask != nil {
		err = errors.Join(err, <-failed)
	}
	return n, err
}

func (p *probing) blackboxConfig() error {
	return p.site.WriteFile("/run/blackbox.yml", "modules:\n"+
		"  icmp: {prober: icmp, timeout: 900ms, icmp: {preferred_ip_protocol: ip4}}\n"+
		"  tcp: {prober: tcp, timeout: 900ms, tcp: {preferred_ip_protocol: ip4}}\n", 0o644)
}

// forked is the figure of a program that is started for each probe.
func (peer probePeer) forked(ctx context.Context, p *probing, s *stage) (float64, error) {
	var cpu time.Duration
	n := pick(s, 200, 30)
	for range n {
		cmd := p.site.Command(ctx, peer.args[0], peer.args[1:]...)
		if err := p.site.Start(cmd); err != nil {
			return 0, err
		}
		if err := cmd.Wait(); err != nil {
			return 0, fmt.Errorf("%s: %w", strings.Join(peer.args, " "), err)
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		sleep(ctx, peer.fork)
	}
	return float64(n) / cpu.Seconds(), nil
}

// listens waits until the program can be asked.
func (sc *scrape) listens(ctx context.Context, p *probing) error {
	return eventually(ctx, 10*time.Second, func() bool {
		conn, err := p.site.Dial(ctx, "tcp", scraped)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// at asks for so many probes a second until ctx ends, each of the targets once a
// second. told gets what was said of each, or nothing where it failed; nil: nobody
// does. The error is of the last that failed.
func (sc *scrape) at(ctx context.Context, p *probing, rate int, told func(target, text string)) error {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 200,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return p.site.Dial(ctx, network, address)
		}}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	var failed error
	next := time.Now()
	for i := 0; ctx.Err() == nil; i++ {
		sleep(ctx, time.Until(next))
		next = next.Add(time.Second / time.Duration(rate))
		target := farTarget(i%rate).String() + sc.suffix
		wg.Go(func() {
			answer, err := client.Get("http://" + scraped + "/probe?module=" + sc.module + "&target=" + url.QueryEscape(target))
			if err == nil {
				var text []byte
				text, err = io.ReadAll(answer.Body)
				answer.Body.Close()
				if err == nil && !strings.Contains(string(text), "probe_success 1") {
					err = fmt.Errorf("%s: the probe failed", target)
				} else if err == nil && told != nil {
					told(target, string(text))
				}
			}
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				if told != nil {
					told(target, "")
				}
			}
		})
	}
	return failed
}
