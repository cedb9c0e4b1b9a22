package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// year is long enough.
const year = 365 * 24 * time.Hour

// playExpired switches a gateway on whose certificate expired a year ago, and
// whose clock is two years off, and waits for it to come back by itself.
func playExpired(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Whole().Only("avocet"), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Collector.AgeCA(3 * year); err != nil {
		return err
	}
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	avocet := c.Site("avocet")
	pings, err := county.PingDuring(ctx, avocet.LAN, records, func() error {
		for _, one := range []struct {
			what    string
			expired bool
			ahead   time.Duration
		}{
			{"its certificate expired a year ago", true, 0},
			{"its clock is two years behind", false, -2 * year},
			{"its clock is two years ahead", false, 2 * year},
			{"its clock is two years behind, its certificate expired a year ago", true, -2 * year},
		} {
			if err := comesBack(ctx, s, c, avocet, one.what, one.expired, one.ahead); err != nil {
				return fmt.Errorf("%s: %w", one.what, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.zero("lost by its LAN at a 1 ms ping meanwhile", pings.Lost(), "packets", fmt.Sprintf("%s sent%s", thousands(pings.Sent), overrun(pings)))
	renewed, err := c.Collector.Audit(ctx, "renew")
	if err != nil {
		return err
	}
	s.row(result{Name: "certificates that were given for all of that", Value: float64(len(renewed)), Unit: "certificates",
		Aim: "<= 4", Met: len(renewed) <= 4, Detail: strings.Join(renewed, "\n")})
	return nil
}

// comesBack starts the gateway so, and waits until the centre hears it.
func comesBack(ctx context.Context, s *stage, c *county.County, g *county.Site, what string, expired bool, ahead time.Duration) error {
	if err := g.StopAgent(ctx); err != nil {
		return err
	}
	if expired {
		if err := c.DateCertificate(g.Agent, time.Now().Add(-year-90*24*time.Hour), time.Now().Add(-year)); err != nil {
			return err
		}
	}
	api, err := c.Collector.API()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := g.StartAgentAt(ahead); err != nil {
		return err
	}
	err = eventually(ctx, patient(2*time.Minute), func() bool {
		site, err := api.Site(ctx, g.Name())
		return err == nil && len(site.Gateways) == 1 && site.Gateways[0].LastSeen.After(began) && site.Gateways[0].Current
	})
	took := time.Since(began)
	s.row(result{Name: "heard again by the centre: " + what, Value: took.Seconds(), Unit: "s", Aim: "<= 60", Met: err == nil && took <= time.Minute})
	until, err := g.CertificateUntil()
	if err != nil {
		return err
	}
	s.holds("its certificate is good: "+what, until.After(time.Now()), until.Format(time.DateTime))
	if ahead == 0 {
		return nil
	}
	status, err := g.Status(ctx)
	if err != nil {
		return err
	}
	s.holds("it says how wrong its clock is: "+what, status.Clock.Off != nil && (ahead-time.Duration(*status.Clock.Off*float64(time.Second))).Abs() < time.Minute, status.Clock.Text)
	return nil
}
