// Package report makes the sites' health reports at the centre: by itself for
// each month that is over, on demand for any, as text, JSON or a page that
// stands alone. The numbers are those of agent/block/report, which the gateways
// run too.
package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// Store is what is needed of store.Store.
type Store interface {
	Sites(ctx context.Context) ([]store.Site, error)
	Site(ctx context.Context, id string) (store.Site, error)
	Gateways(ctx context.Context) ([]store.Gateway, error)
	Blocks(ctx context.Context, gateway string, from, to time.Time) iter.Seq2[*block.Block, error]
	SaveReport(ctx context.Context, site, month string, json []byte) error
	Report(ctx context.Context, site, month string) ([]byte, error)
}

// Maker makes reports. Its methods are safe for concurrent use.
type Maker struct {
	store Store
	hours func(store.Site) block.Hours
	log   *slog.Logger

	mu   sync.Mutex
	done map[key]looked
}

type key struct{ site, month string }

// looked is when a kept report was last compared with the blocks, and whether
// late blocks could still change it.
type looked struct {
	at    time.Time
	final bool
}

// New returns a Maker. hours gives a site's opening hours; nil: always open.
// log may be nil.
func New(st Store, hours func(store.Site) block.Hours, log *slog.Logger) *Maker {
	if hours == nil {
		hours = func(store.Site) block.Hours { return block.Hours{} }
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Maker{store: st, hours: hours, log: log, done: make(map[key]looked)}
}

// Formats that Write knows.
const (
	Text = "text"
	HTML = "html"
	JSON = "json"
)

// Write gives a site's report of a month, "2026-11", in a format: the one that
// was kept when the month was over, else one of what is there now. It wraps
// store.ErrNotFound when there is no such site.
func (m *Maker) Write(ctx context.Context, site, month, format string) ([]byte, error) {
	s, err := m.store.Site(ctx, site)
	if err != nil {
		return nil, fmt.Errorf("report of %q: %w", site, err)
	}
	made, err := m.kept(ctx, site, month)
	if errors.Is(err, store.ErrNotFound) {
		made, err = m.compute(ctx, s, month, time.Now())
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	switch format {
	case Text:
		err = made.Text(&b)
	case HTML:
		err = Page(&b, made)
	case JSON:
		err = made.JSON(&b)
	default:
		err = fmt.Errorf("report of %q: format %q is not one that is made", site, format)
	}
	return b.Bytes(), err
}

func (m *Maker) kept(ctx context.Context, site, month string) (*report.Report, error) {
	raw, err := m.store.Report(ctx, site, month)
	if err != nil {
		return nil, err
	}
	return report.Parse(raw)
}

func (m *Maker) compute(ctx context.Context, s store.Site, month string, until time.Time) (*report.Report, error) {
	year, number, err := block.ParseMonth(month)
	if err != nil {
		return nil, err
	}
	p := report.Period{Year: year, Month: number, Until: until}
	from, to, err := p.Span()
	if err != nil {
		return nil, err
	}
	about := report.Site{ID: s.ID, Name: s.Name, Gateway: s.Gateway, Hours: m.hours(s)}
	return report.Compute(p, about, m.store.Blocks(ctx, s.Gateway, from.Add(-report.Margin), to.Add(report.Margin)))
}
