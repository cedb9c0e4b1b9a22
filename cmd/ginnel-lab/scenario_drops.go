package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playDrops has a hub with 500 sites try one good config after the other, each with
// one more site on paper, while sites that none of them touches fall silent.
func playDrops(ctx context.Context, s *stage) error {
	d, err := openDeskOf(ctx, s, 10*time.Second, behindOneHub("avocet", "curlew", "dunlin", "egret", "fulmar"))
	if err != nil {
		return err
	}
	defer d.Close()
	hub := d.Hub("hub-south")
	papers := 0
	paper := func() string {
		papers++
		p := newPaperSite(papers - 1)
		return fmt.Sprintf("\n[[network.site]]\nname        = %q\npublic_key  = %q\nallowed_ips = [\"%s\"]\n", p.name, p.key, strings.Join(p.prefixes, `", "`))
	}
	n := pick(s, 50, 6)
	var more strings.Builder
	for range bigHub - len(d.Sites) - n {
		more.WriteString(paper())
	}
	if err := d.takeOverHub(ctx, hub, more.String()); err != nil {
		return err
	}
	before, err := hub.Status(ctx)
	if err != nil {
		return err
	}
	for _, site := range d.Sites {
		if err := d.Cut(site.SitePlan.Name); err != nil {
			return err
		}
	}
	began, back := time.Now(), 0
	var said []string
	text := d.texts[hub.Name()]
	for i := range n {
		text += paper()
		raw, err := d.bundle(text)
		if err != nil {
			return err
		}
		if code, out, err := d.apply(ctx, hub.Agent, raw); err != nil || code != 0 {
			back++
			said = append(said, fmt.Sprintf("%d: exit %d, %s %v", i+1, code, out, err))
		}
		// A hub knows that a site is silent by its handshake, after three minutes:
		// the trials are spread over what comes before and after.
		if pause := time.Until(began.Add(time.Duration(i+1) * pick(s, 5*time.Second, time.Second))); pause > 0 {
			sleep(ctx, pause)
		}
	}
	after, err := hub.Status(ctx)
	if err != nil {
		return err
	}
	s.zero("good configs gone back from, or held, while sites that they do not touch fell silent", back, "configs",
		fmt.Sprintf("of %d at a hub with %d sites, in %.0f s; %s", n, bigHub, time.Since(began).Seconds(), strings.Join(said, "; ")))
	up, down := sitesUp(before), sitesUp(after)
	if !s.short {
		s.row(result{Name: "sites that fell silent meanwhile, as the hub sees it", Value: float64(up - down), Unit: "sites", Aim: "5", Met: up-down == len(d.Sites),
			Detail: fmt.Sprintf("%d were up, then %d", up, down)})
	}
	return nil
}

// behindOneHub is the county with some sites, all of them in heron by hub-south.
func behindOneHub(sites ...string) county.Plan {
	p := county.Whole()
	for i := range p.Sites {
		p.Sites[i].Joins = []county.Join{{Network: "heron", Hubs: []string{"hub-south"}}}
	}
	return p.Only(sites...)
}

// sitesUp is how many sites a hub hears.
func sitesUp(s block.Snapshot) (n int) {
	for _, t := range s.Tunnels {
		n += t.PeersUp
	}
	return n
}
