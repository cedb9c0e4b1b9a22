package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

const (
	// Grace is how long after a month's end its reports are made: the blocks
	// of its last minutes need time to arrive.
	Grace = 6 * time.Hour
	// patience is how long a kept report that has holes is made again when
	// late blocks have filled some, and again how often that is looked for.
	patience = 35 * 24 * time.Hour
	again    = 24 * time.Hour
	// pace is how often it is looked what is due.
	pace = time.Hour
)

// Run makes and keeps each site's report when a month is over, and those that
// were missed while the collector was off. It returns nil when ctx ends.
func (m *Maker) Run(ctx context.Context, ready func()) error {
	ready()
	for {
		if err := m.pass(ctx, time.Now()); err != nil && ctx.Err() == nil {
			m.log.Error("reports not made", "err", err)
		}
		timer := time.NewTimer(pace)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// pass makes what is due now. A site that fails does not stop the others; it is
// tried again with the next pass.
func (m *Maker) pass(ctx context.Context, now time.Time) error {
	sites, err := m.store.Sites(ctx)
	if err != nil {
		return fmt.Errorf("list sites: %w", err)
	}
	gateways, err := m.store.Gateways(ctx)
	if err != nil {
		return fmt.Errorf("list gateways: %w", err)
	}
	since := make(map[string]time.Time)
	for _, g := range gateways {
		since[g.Name] = g.Enrolled
	}
	var errs []error
	for _, s := range sites {
		enrolled, ok := since[s.Gateway]
		if !ok || enrolled.IsZero() {
			continue // it cannot have measured anything
		}
		for _, month := range due(enrolled, now) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := m.make(ctx, s, month, now); err != nil {
				errs = append(errs, fmt.Errorf("report of %s for %s: %w", s.ID, month.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// month is a calendar month with its end.
type month struct {
	name string
	end  time.Time
}

// due gives the months that are over and past their grace, from the one of since
// on, oldest first.
func due(since, now time.Time) []month {
	loc, err := time.LoadLocation(block.Zone)
	if err != nil {
		panic(err) // it is built in
	}
	first := since.In(loc)
	var months []month
	for y, n := first.Year(), first.Month(); ; n++ {
		from := time.Date(y, n, 1, 0, 0, 0, 0, loc)
		end := time.Date(y, n+1, 1, 0, 0, 0, 0, loc)
		if now.Before(end.Add(Grace)) {
			return months
		}
		months = append(months, month{from.Format("2006-01"), end})
	}
}

// make keeps the report of a month unless there is one that cannot get better.
func (m *Maker) make(ctx context.Context, s store.Site, mo month, now time.Time) error {
	k := key{s.ID, mo.name}
	m.mu.Lock()
	seen, ok := m.done[k]
	m.mu.Unlock()
	if ok && (seen.final || now.Sub(seen.at) < again) {
		return nil
	}
	before, err := m.store.Report(ctx, s.ID, mo.name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	found := err == nil
	settled := found && (now.Sub(mo.end) > patience || whole(ctx, m, s.ID, mo.name))
	if !settled {
		made, err := m.compute(ctx, s, mo.name, time.Time{})
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := made.JSON(&b); err != nil {
			return err
		}
		if !bytes.Equal(b.Bytes(), before) {
			if err := m.store.SaveReport(ctx, s.ID, mo.name, b.Bytes()); err != nil {
				return err
			}
			m.log.Info("report made", "site", s.ID, "month", mo.name, "again", found)
		}
		settled = len(made.Unwatched) == 0
	}
	m.mu.Lock()
	m.done[k] = looked{now, settled}
	m.mu.Unlock()
	return nil
}

// whole says whether a kept report has no hole that late blocks could fill.
func whole(ctx context.Context, m *Maker, site, month string) bool {
	r, err := m.kept(ctx, site, month)
	return err == nil && len(r.Unwatched) == 0
}
