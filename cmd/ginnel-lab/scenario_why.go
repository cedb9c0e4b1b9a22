package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// breakage is one thing that is broken for real at a site, and what
// `ginnel why` must say of it. Its commands run at the gateway unless they say
// otherwise.
type breakage struct {
	what    string
	network string // that is asked; empty: the site
	code    why.Code
	step    string
	act     func(ctx context.Context) error
	undo    func(ctx context.Context) error
	lasts   bool // a fight is remembered for two minutes of peace
}

// playWhy breaks each layer for real, and asks why: one cause, one code, one
// step and one alarm. Sites go side by side, the breakages of a site one after
// another. At last a hub is cut off, and all its sites say the same.
func playWhy(ctx context.Context, s *stage) error {
	ctx = within(ctx, 5*time.Minute)
	c, err := startByHand(ctx, s, "avocet", "bittern", "curlew", "dunlin", "egret", "fulmar")
	if err != nil {
		return err
	}
	defer c.Close()
	for _, site := range c.Sites {
		if _, _, err := site.Await(ctx, county.AllUp); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for site, list := range breakages(c) {
		all.Go(func() {
			for _, b := range list {
				row, err := b.play(ctx, c, c.Site(site))
				mu.Lock()
				s.row(row)
				failed = errors.Join(failed, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if failed != nil {
		return failed
	}
	return s.oneCauseInACounty(ctx, c)
}

// oneCauseInACounty cuts hub-south off and counts what the collector has of it.
func (s *stage) oneCauseInACounty(ctx context.Context, c *county.County) error {
	if err := c.Cut("hub-south"); err != nil {
		return err
	}
	defer c.Heal("hub-south")
	a, err := awaitAlarm(ctx, c, why.HubSilent, 3, fought)
	if err != nil {
		return err
	}
	s.row(result{Name: "alarms at the collector when hub-south is cut off", Value: float64(len(a.causes)), Unit: "alarms", Aim: "1",
		Met: len(a.causes) == 1, Detail: fmt.Sprintf("%s; %d things not up at %d sites, the others wait", strings.Join(a.causes, ", "), a.ill, a.sites)})
	return nil
}

// play breaks one thing, reads what is said, and mends it.
func (b breakage) play(ctx context.Context, c *county.County, site *county.Site) (result, error) {
	row := result{Name: fmt.Sprintf("%s: %s", site.Name(), b.what), Unit: "alarm", Aim: "1"}
	if err := b.act(ctx); err != nil {
		return row, fmt.Errorf("%s: %s: %w", site.Name(), b.what, err)
	}
	began := time.Now()
	seen, report, err := b.await(ctx, site)
	said := causes(seen)
	row.Value = float64(len(said))
	row.Met = err == nil && len(said) == 1
	row.Detail = fmt.Sprintf("after %.1f s: %s (%s) at %s, expected %s at %s; %s\nsaid: %s",
		time.Since(began).Seconds(), report.Code, report.Owner, failing(report), b.code, b.step, strings.Join(said, ", "), report.Headline)
	if err := b.undo(ctx); err != nil {
		return row, fmt.Errorf("%s: undo %s: %w", site.Name(), b.what, err)
	}
	if b.lasts {
		return row, nil
	}
	if _, _, err := site.Await(within(ctx, 40*time.Second), county.AllUp); err != nil {
		return row, fmt.Errorf("after %s: %w", b.what, err)
	}
	return row, nil
}

// await asks until both the status and why say what is expected; where they do and
// there is another alarm besides, that has a moment to go: a check may have been
// late for another reason.
func (b breakage) await(ctx context.Context, site *county.Site) (seen block.Snapshot, report why.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	var since time.Time // both have said it
	for {
		seen, err = site.Status(ctx)
		if err == nil {
			report, err = askWhy(ctx, site.Node, b.network)
		}
		if err == nil && slices.Contains([]string{seen.Code, seen.Config.Code}, string(b.code)) && report.Code == b.code && failing(report) == b.step {
			if since.IsZero() {
				since = time.Now()
			}
			if len(causes(seen)) == 1 || time.Since(since) > 5*time.Second {
				return seen, report, nil
			}
		}
		if ctx.Err() != nil {
			return seen, report, errors.Join(err, context.Cause(ctx))
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// askWhy is what `ginnel why --json` says; its exit codes are answers too.
func askWhy(ctx context.Context, n *netns.Node, network string) (why.Report, error) {
	var r why.Report
	args := []string{"ginnel", "why", "--json"}
	if network != "" {
		args = append(args, network)
	}
	out, err := n.Run(ctx, args...)
	if f, ok := errors.AsType[*netns.Failure](err); err != nil && (!ok || out == "" || f.Code > 2) {
		return r, err
	}
	return r, json.Unmarshal([]byte(out), &r)
}

// failing names the first step that fails.
func failing(r why.Report) string {
	for _, s := range r.Steps {
		if s.Result == why.Failed {
			return s.Name
		}
	}
	return "no step"
}

// causes are the alarms of one gateway: what has a code and waits for nothing.
func causes(s block.Snapshot) []string {
	var all []string
	note := func(code, object string) {
		if text := strings.TrimSpace(code + " " + object); code != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	for _, t := range s.Tunnels {
		note(t.Code, t.Hub)
	}
	for _, k := range s.Checks {
		note(k.Code, k.Target)
	}
	note(s.Config.Code, "config")
	if !slices.ContainsFunc(all, func(a string) bool { return strings.HasPrefix(a, s.Code) }) {
		note(s.Code, s.Gateway)
	}
	return all
}

// alarm is what the collector has of one cause.
type alarm struct {
	causes     []string
	ill, sites int // what is not up, and where
}

// awaitAlarm waits until so many sites, one left out, have told the collector of
// a code and nothing else.
func awaitAlarm(ctx context.Context, c *county.County, code why.Code, sites int, but string) (alarm, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	api, err := c.Collector.API()
	if err != nil {
		return alarm{}, err
	}
	for {
		var a alarm
		told := 0
		for _, site := range c.Sites {
			if site.Name() == but {
				continue
			}
			d, err := api.Site(ctx, site.Name())
			if err != nil {
				return a, err
			}
			if d.State != checks.Up {
				a.sites++
			}
			if d.Code == string(code) {
				told++
			}
			for _, s := range d.Snapshots {
				for _, cause := range causes(s.Snapshot) {
					if !slices.Contains(a.causes, cause) {
						a.causes = append(a.causes, cause)
					}
				}
				a.ill += illParts(s.Snapshot)
			}
		}
		if told >= sites && told == a.sites || ctx.Err() != nil {
			return a, nil // too few are seen in the row
		}
		sleep(ctx, 300*time.Millisecond)
	}
}

func illParts(s block.Snapshot) (n int) {
	for _, t := range s.Tunnels {
		if t.State != checks.Up {
			n++
		}
	}
	for _, k := range s.Checks {
		if k.State != checks.Up {
			n++
		}
	}
	return n
}
