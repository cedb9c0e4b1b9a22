package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playRestart ends the agent again and again, kindly and not, while a host on
// the LAN pings a service through the tunnel every millisecond.
func playRestart(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "bittern")
	if err != nil {
		return err
	}
	defer c.Close()
	bittern := c.Site("bittern")
	times := pick(s, 20, 3)
	before := writes(bittern)
	for _, way := range []struct {
		name string
		stop func(context.Context) error
	}{
		{"restart", bittern.StopAgent},
		{"kill -9", bittern.Kill9Agent},
	} {
		var all county.Pinged
		var back []time.Duration
		for range times {
			r, err := restartUnderPing(ctx, bittern, records, way.stop, 0)
			if err != nil {
				return err
			}
			all.Sent += r.Sent
			all.Answered += r.Answered
			all.Overrun += r.Overrun
			back = append(back, r.back)
		}
		slices.Sort(back)
		s.zero(fmt.Sprintf("lost over %d times %s at a 1 ms ping", times, way.name), all.Lost(), "packets",
			fmt.Sprintf("%s sent%s, %s back end; the agent was back after %.2f s (median), %.2f s at most",
				thousands(all.Sent), overrun(all), county.Backend, back[len(back)/2].Seconds(), back[len(back)-1].Seconds()))
	}
	if _, _, err := bittern.Await(within(ctx, 30*time.Second), county.AllUp); err != nil {
		return err
	}
	s.holds("all is up afterwards", true, "")
	s.zero("written to the host by all of these agents", writes(bittern)-before, "steps", "the config and the host were the same")
	return nil
}

// overrun says what our own socket could not take, where it is not nothing.
func overrun(p county.Pinged) string {
	if p.Overrun == 0 {
		return ""
	}
	return fmt.Sprintf(", %d answers not seen because our own socket was full", p.Overrun)
}

// writes is how many changes of the host the agent has logged.
func writes(s *county.Site) int { return len(changeLine.FindAllString(s.Log(1<<20), -1)) }

// startCounty builds a county with some sites, which get their configs by push, and
// waits until it is up.
func startCounty(ctx context.Context, s *stage, sites ...string) (*county.County, error) {
	return start(ctx, s, county.Whole().Only(sites...))
}

// startByHand is startCounty with configs that lie on the gateways, for scenarios
// that change them there.
func startByHand(ctx context.Context, s *stage, sites ...string) (*county.County, error) {
	return start(ctx, s, county.Whole().Only(sites...).ByHand())
}

func start(ctx context.Context, s *stage, p county.Plan) (*county.County, error) {
	c, err := buildCounty(ctx, p, "scenario-"+s.name)
	if err != nil {
		return nil, err
	}
	if err := bringUp(ctx, c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// within bounds ctx for one wait; its timer ends with ctx or by itself.
func within(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, patient(d))
	context.AfterFunc(ctx, cancel)
	return ctx
}

// patient is how long to wait for what takes d at most. The kernel's back end is
// played under emulation.
func patient(d time.Duration) time.Duration {
	if county.Backend == "kernel" {
		return 10 * d
	}
	return d
}
