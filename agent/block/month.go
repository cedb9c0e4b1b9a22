package block

import (
	"fmt"
	"time"
	_ "time/tzdata" // a gateway may have no zone files
)

// Zone is where months and opening hours are counted.
const Zone = "Europe/London"

// Month gives the span of a calendar month in a zone: [from, to). It may have a
// day of 23 or of 25 hours.
func Month(year int, month time.Month, zone string) (from, to time.Time, err error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return from, to, fmt.Errorf("month in %q: %w", zone, err)
	}
	return time.Date(year, month, 1, 0, 0, 0, 0, loc), time.Date(year, month+1, 1, 0, 0, 0, 0, loc), nil
}

// ParseMonth reads "2026-11".
func ParseMonth(s string) (year int, month time.Month, err error) {
	t, err := time.Parse("2006-01", s)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is no month such as 2026-11", s)
	}
	return t.Year(), t.Month(), nil
}

// Hours are the opening hours of a site, in Zone. The zero Hours are always
// open. Bank holidays count as open.
type Hours struct {
	name string
	days [7]opening // by time.Weekday
}

// opening is minutes since midnight; both 0: closed.
type opening struct{ from, to int }

// ParseHours knows "always" (also written as nothing) and "gp-core", Monday to
// Friday 08:00-18:30.
func ParseHours(name string) (Hours, error) {
	switch name {
	case "", "always":
		return Hours{}, nil
	case "gp-core":
		h := Hours{name: name}
		for d := time.Monday; d <= time.Friday; d++ {
			h.days[d] = opening{8 * 60, 18*60 + 30}
		}
		return h, nil
	}
	return Hours{}, fmt.Errorf(`opening hours %q are not known, only "always" and "gp-core"`, name)
}

// String gives the name back.
func (h Hours) String() string {
	if h.name == "" {
		return "always"
	}
	return h.name
}

// Open is how much of [from, to) lies in opening hours.
func (h Hours) Open(from, to time.Time) time.Duration {
	if h.name == "" {
		return max(0, to.Sub(from))
	}
	loc, err := time.LoadLocation(Zone)
	if err != nil {
		panic(err) // it is built in
	}
	var open time.Duration
	year, month, day := from.In(loc).Date()
	for d := time.Date(year, month, day, 0, 0, 0, 0, loc); d.Before(to); d = time.Date(d.Year(), d.Month(), d.Day()+1, 0, 0, 0, 0, loc) {
		o := h.days[d.Weekday()]
		opens := time.Date(d.Year(), d.Month(), d.Day(), 0, o.from, 0, 0, loc)
		closes := time.Date(d.Year(), d.Month(), d.Day(), 0, o.to, 0, 0, loc)
		begin, end := later(from, opens), earlier(to, closes)
		open += max(0, end.Sub(begin))
	}
	return open
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
