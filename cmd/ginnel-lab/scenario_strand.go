package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// strandings are what a careless push can do to avocet. Each gives the config from
// the good one, and a word of the reason to go back.
var strandings = []struct {
	name    string
	because []string // parts of the reason
	spoil   func(good string, wan netip.Prefix) string
}{
	{"a wrong key of the hub", []string{"kestrel/hub-north", "dead"}, func(good string, _ netip.Prefix) string {
		const key = `public_key  = "`
		at := strings.Index(good, key) + len(key)
		return good[:at] + "ilrTTFK1bR+6wa9JvCuajS+cpNF02x8IqWyz6PjmYAY=" + good[at+44:]
	}},
	{"a route that is dropped", []string{"good and are dead"}, func(good string, _ netip.Prefix) string {
		return strings.Replace(good, `, "198.51.100.0/24"`, "", 1)
	}},
	{"a prefix that swallows the collector", []string{"the way to it has changed"}, func(good string, wan netip.Prefix) string {
		// The LAN is said to be where the line is, too: what the gateway itself
		// says from there goes into the network.
		good = strings.Replace(good, `lan     = [`, fmt.Sprintf("may_cover = [%q, %q, %q]\nlan     = [%q, ", "collector", "gateway", "eth0", wan.Masked()), 1)
		return strings.Replace(good, `"198.51.100.0/24"`, `"198.51.100.0/24", "192.0.2.40/32"`, 1)
	}},
}

// playStrand pushes, host checks switched off, what would strand a site.
func playStrand(ctx context.Context, s *stage) error {
	d, err := openDesk(ctx, s, pick(s, 90*time.Second, 20*time.Second), "avocet", "bittern")
	if err != nil {
		return err
	}
	defer d.Close()
	for _, x := range strandings {
		if err := d.strand(ctx, s, x.name, x.because, x.spoil); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	return nil
}

func (d *desk) strand(ctx context.Context, s *stage, name string, because []string, spoil func(string, netip.Prefix) string) error {
	avocet, bittern := d.Site("avocet"), d.Site("bittern")
	if err := d.AwaitAllUp(within(ctx, time.Minute)); err != nil {
		return err
	}
	wan, err := d.wanOf(ctx, avocet.Node.Name)
	if err != nil {
		return err
	}
	before, err := bittern.Status(ctx)
	if err != nil {
		return err
	}
	ran, err := avocet.Status(ctx)
	if err != nil {
		return err
	}
	good := d.texts["avocet-1"]
	r, err := d.push(ctx, map[string]string{"avocet-1": spoil(good, wan), "bittern-1": d.texts["bittern-1"] + "\n# the same\n"}, []string{"bittern-1"})
	if err != nil {
		return err
	}
	began := time.Now()
	tried := func(c block.ConfigSnapshot) bool { return c.Trial != nil && c.Trial.Generation > ran.Config.Mark }
	limit := within(ctx, d.trial+time.Minute)
	if _, err := d.awaitConfig(limit, avocet, func(c block.ConfigSnapshot) bool { return tried(c) && c.Generation != ran.Config.Generation }); err != nil {
		return err
	}
	back := func(c block.ConfigSnapshot) bool { return tried(c) && c.Generation == ran.Config.Generation }
	c, err := d.awaitConfig(limit, avocet, back)
	if err != nil {
		return err
	}
	took := time.Since(c.Trial.Began)
	// Whether the change was at fault is said once the old one has been seen to work.
	if c, err = d.awaitConfig(limit, avocet, func(c block.ConfigSnapshot) bool { return back(c) && c.Trial.Reason != "" }); err != nil {
		return err
	}
	s.row(result{Name: "from the change to the old config, by " + name, Value: took.Seconds(), Unit: "s", Aim: fmt.Sprintf("<= %.0f", d.trial.Seconds()),
		Met: took <= d.trial && !slices.ContainsFunc(because, func(b string) bool { return !strings.Contains(c.Trial.Reason, b) }), Detail: c.Trial.Reason + "\n" + strings.Join(c.Trial.Evidence, "\n")})
	evident := func(r centre.Rollout) bool {
		return r.State == centre.RolloutPaused && slices.ContainsFunc(r.Gateways, func(g centre.PushState) bool { return g.Gateway == "avocet-1" && len(g.Evidence) > 0 })
	}
	if err := d.await(within(ctx, time.Minute), r.ID, evident); err != nil {
		return err
	}
	told := time.Since(began)
	now, err := d.api.Rollout(ctx, r.ID)
	if err != nil {
		return err
	}
	evidence, rest := 0, ""
	for _, g := range now.Gateways {
		if g.Gateway == "avocet-1" {
			evidence = len(g.Evidence)
		} else {
			rest = g.State
		}
	}
	after, err := bittern.Status(ctx)
	if err != nil {
		return err
	}
	s.holds("the centre was told with evidence, and the ring stopped before the next site", evidence > 0 && rest == "waiting" && after.Config.Hash == before.Config.Hash,
		fmt.Sprintf("%.0f s after the push the rollout paused itself: %s; bittern-1 is %s", told.Seconds(), now.Reason, rest))
	_, err = d.api.MoveRollout(ctx, r.ID, centre.MoveAbort)
	return err
}

// wanOf is the prefix of a gateway's line.
func (d *desk) wanOf(ctx context.Context, node string) (netip.Prefix, error) {
	n, err := d.Node(node)
	if err != nil {
		return netip.Prefix{}, err
	}
	st, err := awaitStatus(within(ctx, 10*time.Second), n, func(st block.Snapshot) bool { return len(st.Host.Links) > 0 })
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, l := range st.Host.Links {
		if l.Uplink && len(l.Prefixes) > 0 {
			return l.Prefixes[0], nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("%s reports no uplink: %+v", node, st.Host)
}
