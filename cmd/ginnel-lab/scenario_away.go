package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playAway takes the collector while good configs are on trial: none is gone back
// from, and all are confirmed once it is there again.
func playAway(ctx context.Context, s *stage) error {
	return goodTrials(ctx, s, "collector")
}

// playOthers takes hub-south, which the trials do not touch: all that changes is of
// kestrel, by hub-north.
func playOthers(ctx context.Context, s *stage) error {
	return goodTrials(ctx, s, "hub-south")
}

// goodTrials has each of the sites try one good config after the other, with a line
// cut at a random moment of each round, and healed after it.
func goodTrials(ctx context.Context, s *stage, cut string) error {
	sites := []string{"avocet", "bittern"}
	d, err := openDesk(ctx, s, 10*time.Second, sites...)
	if err != nil {
		return err
	}
	defer d.Close()
	n := pick(s, 50, 6)
	var kept, held, back int
	var said []string
	for done := 0; done < n; {
		var wg sync.WaitGroup
		var mu sync.Mutex
		round := d.Sites[:min(len(d.Sites), n-done)]
		for _, site := range round {
			raw, err := d.bundle(d.better(site, done))
			if err != nil {
				return err
			}
			wg.Go(func() {
				code, text, err := d.apply(ctx, site.Agent, raw)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && code == 0:
					kept++
				case err == nil && code == 2:
					held++
				default:
					back++
					said = append(said, fmt.Sprintf("%s: %d, %s %v", site.Name(), code, text, err))
				}
			})
		}
		sleep(ctx, rand.N(400*time.Millisecond)) // a trial takes no longer where all is well
		if err := d.Cut(cut); err != nil {
			return err
		}
		wg.Wait()
		if err := d.Heal(cut); err != nil {
			return err
		}
		done += len(round)
		for _, site := range round {
			if _, err := d.awaitConfig(within(ctx, 2*time.Minute), site, func(c block.ConfigSnapshot) bool { return c.State == block.ConfigApplied && c.Generation == c.Mark }); err != nil {
				return err
			}
		}
		if err := d.AwaitAllUp(within(ctx, 2*time.Minute)); err != nil {
			return err
		}
	}
	s.zero("good configs gone back from while "+cut+" was away", back, "configs", fmt.Sprintf("of %d: %d confirmed at once, %d held, and all confirmed in the end; %s", n, kept, held, strings.Join(said, "; ")))
	return nil
}

// better is a site's config with another prefix behind its hub of kestrel, each
// time a different one.
func (d *desk) better(s *county.Site, n int) string {
	return strings.Replace(d.texts[s.Gateway()], `"198.51.100.0/24"`, fmt.Sprintf(`"198.51.100.0/24", "198.18.%d.0/24"`, n+1), 1)
}
