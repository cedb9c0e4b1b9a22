package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// sameNumbers compares, for each site, what `ginnel history` says at the gateway
// with the collector's report, and gives the sites that differ. A minute that is
// on its way is waited for.
func sameNumbers(ctx context.Context, c *county.County) (differ []string, blocks int, err error) {
	deadline := time.Now().Add(90 * time.Second)
	for _, s := range c.Sites {
		for {
			own, there, err := bothReports(ctx, c, s)
			if err != nil {
				return nil, 0, err
			}
			if reflect.DeepEqual(timeless(own), timeless(there)) {
				blocks += own.Blocks
				break
			}
			if time.Now().After(deadline) {
				differ = append(differ, s.Name())
				break
			}
			if sleep(ctx, time.Second); ctx.Err() != nil {
				return nil, 0, context.Cause(ctx)
			}
		}
	}
	return differ, blocks, nil
}

func bothReports(ctx context.Context, c *county.County, s *county.Site) (own, there report.Report, err error) {
	if own, err = s.History(ctx); err != nil {
		return own, there, err
	}
	text, err := c.Collector.Report(ctx, s.Name(), "json")
	if err != nil {
		return own, there, err
	}
	if err := json.Unmarshal([]byte(text), &there); err != nil {
		return own, there, fmt.Errorf("the collector's report of %s: %w", s.Name(), err)
	}
	return own, there, nil
}

// timeless is a report without what depends on the instant at which it was asked
// for: the time from the newest block until then.
func timeless(r report.Report) report.Report {
	if n := len(r.Unwatched) - 1; n >= 0 && r.Unwatched[n].To.Equal(r.To) {
		r.Unwatched[n].To = time.Time{}
	}
	for i := range r.Services {
		r.Services[i].UnknownFor = 0
	}
	r.To = time.Time{}
	return r
}
