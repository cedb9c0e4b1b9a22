package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// What scenarios and the tour both do to a county.

// Services behind the hubs.
var (
	records = netip.MustParseAddr("198.51.100.20")
	results = netip.MustParseAddr("203.0.113.40")
)

// restarted is an agent's restart under a ping of 1 ms.
type restarted struct {
	county.Pinged
	back time.Duration // from its end until it answered again
}

// restartUnderPing ends the agent by stop, starts it again, and pings target
// from the LAN all the while and for at least the time atLeast.
func restartUnderPing(ctx context.Context, s *county.Site, target netip.Addr, stop func(context.Context) error, atLeast time.Duration) (restarted, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var r restarted
	var err error
	r.Pinged, err = county.PingDuring(ctx, s.LAN, target, func() error {
		began := time.Now()
		sleep(ctx, 200*time.Millisecond)
		if err := stop(ctx); err != nil {
			return err
		}
		ended := time.Now()
		if err := s.StartAgent(); err != nil {
			return err
		}
		if _, err := s.AwaitAnswer(ctx); err != nil {
			return err
		}
		r.back = time.Since(ended)
		// Its first look at the host comes after that, and is what could hurt.
		sleep(ctx, max(time.Second, atLeast-time.Since(began)))
		return nil
	})
	return r, err
}

// cutOff is what a site saw when a hub was cut off.
type cutOff struct {
	after    time.Duration // until the site said so
	said     string
	heron    county.Pinged  // to the network behind the hub, from the LAN
	passage  county.Passage // of it at the gateway
	wan      county.Seen    // of it on the site's WAN
	internet county.Pinged  // beside, in the same time
	kestrel  county.Pinged
	alarm    alarm         // that the collector has
	healed   time.Duration // from the healing until all was up again
}

// cutHubSouth cuts hub-south off and heals it. It looks from avocet, which is
// in heron by hub-south and in kestrel by hub-north.
func cutHubSouth(ctx context.Context, c *county.County, packets int, capture func(wan.Frame)) (cutOff, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var o cutOff
	avocet := c.Site("avocet")
	if err := c.Cut("hub-south"); err != nil {
		return o, err
	}
	took, s, err := avocet.Await(ctx, func(s block.Snapshot) bool {
		t, ok := county.Tunnel(s, "heron")
		return ok && t.State == checks.Down && s.Headline != ""
	})
	if err != nil {
		return o, errors.Join(err, c.Heal("hub-south"))
	}
	o.after, o.said = took, strings.TrimSpace(s.Headline+" "+s.Code)
	if o.alarm, err = awaitAlarm(ctx, c, why.HubSilent, hubSites(c, "hub-south"), ""); err != nil {
		return o, errors.Join(err, c.Heal("hub-south"))
	}
	err = o.watchAll(ctx, c, packets, capture)
	if err := errors.Join(err, c.Heal("hub-south")); err != nil {
		return o, err
	}
	o.healed, _, err = avocet.Await(ctx, county.AllUp)
	return o, err
}

// hubSites is how many sites have a tunnel to a hub.
func hubSites(c *county.County, hub string) (n int) {
	for _, s := range c.Sites {
		if slices.ContainsFunc(s.Joins, func(j county.Join) bool { return slices.Contains(j.Hubs, hub) }) {
			n++
		}
	}
	return n
}

// watchAll pings, and watches what becomes of it at the gateway and on the WAN.
func (o *cutOff) watchAll(ctx context.Context, c *county.County, packets int, capture func(wan.Frame)) error {
	avocet := c.Site("avocet")
	stop, err := avocet.WatchLAN(netip.PrefixFrom(results, 32))
	if err != nil {
		return err
	}
	watch := c.WatchNetwork(avocet, "heron", "hub-south", capture)
	err = o.pingAll(ctx, c, packets)
	o.wan = watch.Stop()
	var perr error
	o.passage, perr = stop()
	return errors.Join(err, perr)
}

// pingAll pings behind the hub, beside it, and the other network at once.
func (o *cutOff) pingAll(ctx context.Context, c *county.County, packets int) error {
	lan := c.Site("avocet").LAN
	every := 5 * time.Millisecond
	errs := make(chan error, 3)
	go func() { var err error; o.heron, err = county.PingLong(ctx, lan, results, every, packets); errs <- err }()
	go func() {
		var err error
		o.internet, err = county.Ping(ctx, lan, county.InternetAddress, every, packets)
		errs <- err
	}()
	go func() { var err error; o.kestrel, err = county.Ping(ctx, lan, records, every, packets); errs <- err }()
	return errors.Join(<-errs, <-errs, <-errs)
}

// delivered is what became of the minutes that gateways kept while the
// collector could not be reached.
type delivered struct {
	gateways int
	kept     int // blocks that waited at the end of the outage
	arrived  int // blocks that came after it
	missing  int // numbers that never came
	twice    int // blocks in the store more often than once, or beyond the gateway's own count
	own      int // the gateways' own count of all blocks
	stored   int // the store's
}

// collectorAway makes the collector unreachable by away, for a time over at
// least one turn of the minute, brings it back, and counts.
func collectorAway(ctx context.Context, c *county.County, long time.Duration, away, back func() error) (delivered, error) {
	ctx, cancel := context.WithTimeout(ctx, long+5*time.Minute)
	defer cancel()
	d := delivered{gateways: len(c.Sites)}
	untilLateInMinute(ctx, long)
	before, err := keptOf(ctx, c)
	if err != nil {
		return d, err
	}
	if err := away(); err != nil {
		return d, err
	}
	sleep(ctx, long)
	for _, s := range c.Sites {
		st, err := s.Status(ctx)
		if err != nil {
			return d, err
		}
		d.kept += st.Collector.Waiting
	}
	if err := back(); err != nil {
		return d, err
	}
	for _, s := range c.Sites {
		_, _, err := s.Await(ctx, func(s block.Snapshot) bool { return s.Collector.Waiting == 0 && s.Collector.Error == "" })
		if err != nil {
			return d, err
		}
	}
	after, err := keptOf(ctx, c)
	if err != nil {
		return d, err
	}
	for name, k := range after {
		d.arrived += k.Minutes - before[name].Minutes
		d.missing += max(0, k.Missing)
		d.twice += max(0, -k.Missing)
		d.stored += k.Blocks
	}
	return d, d.compare(ctx, c, after)
}

// compare asks each gateway for its own count.
func (d *delivered) compare(ctx context.Context, c *county.County, stored map[string]county.Kept) error {
	for _, s := range c.Sites {
		h, err := s.History(ctx)
		if err != nil {
			return err
		}
		d.own += h.Blocks
		d.twice += max(0, stored[s.Gateway()].Blocks-h.Blocks)
	}
	return nil
}

func keptOf(ctx context.Context, c *county.County) (map[string]county.Kept, error) {
	all := map[string]county.Kept{}
	for _, s := range c.Sites {
		k, err := c.Collector.Kept(ctx, s.Gateway())
		if err != nil {
			return nil, err
		}
		all[s.Gateway()] = k
	}
	return all, nil
}

// untilLateInMinute waits so that a time of long from now has a turn of the
// minute in it, which is when gateways close their blocks.
func untilLateInMinute(ctx context.Context, long time.Duration) {
	into := time.Duration(time.Now().Second()) * time.Second
	if wait := time.Minute - long/2 - into; long < time.Minute && wait > 0 {
		sleep(ctx, wait)
	}
}

// swallow has a site's agent plan a config whose prefix would take the default
// gateway away, and returns the refusal; an error when it was not refused.
func swallow(ctx context.Context, s *county.Site) (refusal string, err error) {
	text, err := s.Node.ReadFile("/var/lib/ginnel/last-good.toml") // wherever it came from
	if err != nil {
		return "", err
	}
	const file = "/run/tour/desired.toml"
	bad := strings.Replace(text, `"198.51.100.0/24"]`, `"198.51.100.0/24", "192.0.2.128/25"]`, 1)
	if bad == text {
		return "", errors.New("no prefix to add one to in\n" + text)
	}
	if err := s.Node.WriteFile(file, bad, 0o644); err != nil {
		return "", err
	}
	_, err = s.Node.Run(ctx, "ginnel", "plan", file)
	f, ok := errors.AsType[*netns.Failure](err)
	if err == nil {
		return "", errors.New("ginnel plan accepted a config that takes the default gateway")
	}
	if !ok || f.Code != 1 {
		return "", fmt.Errorf("ginnel plan of a config that takes the default gateway, want exit 1: %w", err)
	}
	if _, err := s.Node.Run(ctx, "ginnel", "plan"); err != nil {
		return "", fmt.Errorf("after the refusal the host is not as planned: %w", err)
	}
	return f.Stderr, nil
}

// writeReports writes this month's report of each site to a folder.
func writeReports(ctx context.Context, c *county.County, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, s := range c.Sites {
		html, err := c.Collector.Report(ctx, s.Name(), "html")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, s.Name()+".html"), []byte(html), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// eventually looks every 5 ms until done says so, for at most the given time.
func eventually(ctx context.Context, most time.Duration, done func() bool) error {
	for end := time.Now().Add(most); !done(); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited in vain for %v", most)
		}
	}
	return nil
}
