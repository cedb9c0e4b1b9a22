package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// playEvidence has a service refuse one site, and later flap, and reads what the
// centre has of it: one bundle, in which it can be seen what happened.
func playEvidence(ctx context.Context, s *stage) error {
	ctx = within(ctx, 4*time.Minute)
	const site = "fulmar"
	c, err := startByHand(ctx, s, site)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, _, err := c.Site(site).Await(ctx, county.AllUp); err != nil {
		return err
	}
	sleep(ctx, pick(s, 20*time.Second, 6*time.Second)) // so that there is a before
	known, err := evidenceAt(ctx, c, site, 0, 0)
	if err != nil {
		return err
	}
	broken := breaker{c}.service(site, "heron", "hub-south")
	for range pick(s, 5, 2) { // a flap is one cause
		if err := broken.act(ctx); err != nil {
			return err
		}
		sleep(ctx, 8*time.Second)
		if err := broken.undo(ctx); err != nil {
			return err
		}
		sleep(ctx, 8*time.Second)
	}
	list, err := evidenceAt(ctx, c, site, len(known)+1, 40*time.Second)
	if err != nil {
		return err
	}
	if list = list[:len(list)-len(known)]; len(list) == 0 {
		s.row(result{Name: "evidence at the centre of a service that flaps", Unit: "bundles", Aim: "1"})
		return nil
	}
	s.row(result{Name: "evidence at the centre of a service that flaps", Value: float64(len(list)), Unit: "bundles", Aim: "1", Met: len(list) == 1, Detail: texts(list)})
	api, err := c.Collector.API()
	if err != nil {
		return err
	}
	e := list[len(list)-1]
	b, err := api.EvidenceOf(ctx, site, e.Gateway, e.ID)
	if err != nil {
		return err
	}
	s.judgeEvidence(b)
	said, err := c.Site(site).Node.Run(ctx, "ginnel", "evidence", e.ID)
	if err != nil {
		return err
	}
	s.holds("the site says the same", strings.Contains(said, b.Finding.Code) && strings.Contains(said, b.Course()[:8]), said)
	return nil
}

// judgeEvidence holds a bundle to what it is for.
func (s *stage) judgeEvidence(b *evidence.Bundle) {
	good, _, _ := b.Tally(true)
	answered, after, _ := b.Tally(false)
	s.holds("it has packets from before, answered, and from after, refused", good >= 3 && after-answered >= 2, b.Course())
	s.holds("it names the cause", b.Finding.Code == string(why.TargetRefuses) && b.Finding.Who != "", b.Headline())
	hops := ""
	if b.Path != nil {
		for _, step := range b.Path.Steps {
			hops += step.Name + " " + step.Detail + "; "
		}
	}
	s.holds("it has the path", b.Path != nil && b.Path.Verdict != checks.Unknown && hops != "", hops)
	s.holds("it has the tunnel and its handshake", slices.ContainsFunc(b.Tunnels, func(t evidence.Tunnel) bool { return t.HandshakeAge != nil && t.Endpoint != "" }),
		fmt.Sprintf("%d tunnels, %d interfaces", len(b.Tunnels), len(b.Links)))
}

func texts(list []centre.Evidence) string {
	var lines []string
	for _, e := range list {
		lines = append(lines, e.ID+" "+e.Code+" "+e.Text)
	}
	return strings.Join(lines, "\n")
}

// evidenceAt waits a while for so much at the centre, and gives what there is.
func evidenceAt(ctx context.Context, c *county.County, site string, want int, most time.Duration) ([]centre.Evidence, error) {
	api, err := c.Collector.API()
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(patient(most)); ; sleep(ctx, 500*time.Millisecond) {
		list, err := api.Evidence(ctx, site)
		if err != nil || len(list) >= want || time.Now().After(until) {
			return list, err
		}
	}
}
