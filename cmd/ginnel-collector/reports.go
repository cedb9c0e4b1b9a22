package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// reports makes health reports on demand.
type reports struct {
	store store.Store
	now   func() time.Time
}

func newReports(st store.Store) *reports { return &reports{store: st, now: time.Now} }

// write makes a site's report of a month in a format: the one that was kept
// when the month was over, else one of what is there now.
func (r *reports) write(ctx context.Context, id, month, format string) ([]byte, error) {
	site, err := r.store.Site(ctx, id)
	if err != nil {
		return nil, err
	}
	made, err := r.kept(ctx, id, month)
	if errors.Is(err, store.ErrNotFound) {
		made, err = r.compute(ctx, site, month)
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	switch format {
	case "text":
		err = made.Text(&b)
	case "json":
		err = made.JSON(&b)
	default:
		err = fmt.Errorf("report of %s: format %q is not one that is made", id, format)
	}
	return b.Bytes(), err
}

func (r *reports) kept(ctx context.Context, id, month string) (*report.Report, error) {
	raw, err := r.store.Report(ctx, id, month)
	if err != nil {
		return nil, err
	}
	return report.Parse(raw)
}

func (r *reports) compute(ctx context.Context, site store.Site, month string) (*report.Report, error) {
	year, m, err := block.ParseMonth(month)
	if err != nil {
		return nil, err
	}
	p := report.Period{Year: year, Month: m, Until: r.now()}
	from, to, err := p.Span()
	if err != nil {
		return nil, err
	}
	return report.Compute(p, report.Site{ID: site.ID, Name: site.Name, Gateway: site.Gateway},
		r.store.Blocks(ctx, site.Gateway, from.Add(-report.Margin), to.Add(report.Margin)))
}
