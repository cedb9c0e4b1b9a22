package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// playLab measures the lab itself, so that its figures about others mean
// something: the lines add little, delay what they are told to, and a cut is a
// cut. No program under test runs.
func playLab(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Whole().Only("avocet"), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	avocet := c.Site("avocet")
	count := pick(s, 5000, 500)

	if err := c.Impair("avocet", func(l *wan.Line) { *l = wan.Line{} }); err != nil {
		return err
	}
	bare, err := county.Ping(ctx, avocet.LAN, county.InternetAddress, time.Millisecond, count)
	if err != nil {
		return err
	}
	s.zero("lost on a line that does nothing", bare.Lost(), "packets", fmt.Sprintf("%d sent", bare.Sent))
	s.row(result{Name: "round trip of a line that does nothing", Value: ms(bare.Median()), Unit: "ms", Aim: "< 1",
		Met: bare.Median() < time.Millisecond, Detail: "two relays, four times through them"})

	if err := c.Heal("avocet"); err != nil {
		return err
	}
	delayed, err := county.Ping(ctx, avocet.LAN, county.InternetAddress, time.Millisecond, count)
	if err != nil {
		return err
	}
	want := 2 * avocet.Delay
	off := delayed.Median() - want
	s.row(result{Name: "round trip beyond the delay asked for", Value: ms(off), Unit: "ms", Aim: "0 to 1",
		Met: off >= 0 && off < time.Millisecond, Detail: fmt.Sprintf("asked for %v, measured %v", want, delayed.Median())})

	if err := c.Cut("avocet"); err != nil {
		return err
	}
	cut, err := county.Ping(ctx, avocet.LAN, county.InternetAddress, time.Millisecond, 200)
	if err != nil {
		return err
	}
	s.zero("answered over a cut line", cut.Answered, "packets", fmt.Sprintf("%d sent, %d refused", cut.Sent, cut.Refused))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
