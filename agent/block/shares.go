package block

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Shares is how long something was in which state. Degraded time is part of Up.
type Shares struct {
	Up, Degraded, Down, Unknown, Maintenance time.Duration
}

// Share adds up spans.
func Share(spans []Span) Shares {
	var s Shares
	for _, p := range spans {
		switch d := p.Length(); p.State {
		case checks.Up:
			s.Up += d
		case checks.DegradedState:
			s.Up += d
			s.Degraded += d
		case checks.Down:
			s.Down += d
		case checks.MaintenanceMode:
			s.Maintenance += d
		default:
			s.Unknown += d
		}
	}
	return s
}

// Percent is a share of the whole in hundredths of a percent.
type Percent int

// String prints "99.97".
func (p Percent) String() string { return fmt.Sprintf("%d.%02d", int(p)/100, int(p)%100) }

// MarshalJSON prints a number with two decimals.
func (p Percent) MarshalJSON() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalJSON reads what MarshalJSON printed.
func (p *Percent) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || v < 0 || v > 100 {
		return fmt.Errorf("%q is no percentage", b)
	}
	*p = Percent(math.Round(v * 100))
	return nil
}

const whole Percent = 10000

// Percents gives the shares so that all four add up to 100.00 exactly. Down,
// unknown and maintenance are rounded to the nearest hundredth, but never to
// 0.00 when there was any; up is what is left, so that it never becomes 100.00
// when there was an outage. Up, if there was any, takes at least 0.01 too, from
// the largest of the others.
func (s Shares) Percents() (up, down, unknown, maintenance Percent) {
	total := s.Up + s.Down + s.Unknown + s.Maintenance
	if total <= 0 {
		return 0, 0, whole, 0
	}
	down, unknown, maintenance = percent(s.Down, total), percent(s.Unknown, total), percent(s.Maintenance, total)
	up = whole - down - unknown - maintenance
	least := Percent(0)
	if s.Up > 0 {
		least = 1
	}
	if missing := least - up; missing != 0 && (missing > 0 || s.Up == 0) {
		largest := &down
		for _, p := range []*Percent{&unknown, &maintenance} {
			if *p > *largest {
				largest = p
			}
		}
		*largest -= missing
		up = least
	}
	return up, down, unknown, maintenance
}

func percent(part, total time.Duration) Percent {
	if part <= 0 {
		return 0
	}
	return max(1, Percent(float64(part)/float64(total)*float64(whole)+0.5))
}

// Part gives part of total, rounded to the nearest hundredth; 100.00 only if it
// is all of it, 0.00 only if it is nothing.
func Part(part, total time.Duration) Percent {
	switch {
	case total <= 0 || part <= 0:
		return 0
	case part >= total:
		return whole
	}
	return min(whole-1, percent(part, total))
}
