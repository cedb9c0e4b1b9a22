package web

import (
	"fmt"
	"math"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// mark is the sign of a state that stands beside its word, so that colour is
// never the only one.
func mark(s checks.State) string {
	switch s {
	case checks.Up:
		return "●"
	case checks.DegradedState:
		return "▲"
	case checks.Down:
		return "✕"
	case checks.MaintenanceMode:
		return "◆"
	}
	return "?"
}

// word is a state as shown; a word of a newer program is unknown.
func word(s checks.State) string {
	switch s {
	case checks.Up, checks.DegradedState, checks.Down, checks.MaintenanceMode:
		return string(s)
	}
	return string(checks.UnknownState)
}

// since is a time in as few words as tell it from others: the time of today,
// the weekday of the last six days, else the date.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.In(now.Location())
	switch day := daysBetween(t, now); {
	case day == 0:
		return t.Format("15:04")
	case day > 0 && day < 7:
		return t.Format("Mon 15:04")
	}
	return t.Format("2 Jan 2006")
}

// daysBetween counts midnights from t to now.
func daysBetween(t, now time.Time) int {
	a := time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, time.UTC)
	b := time.Date(now.Year(), now.Month(), now.Day(), 12, 0, 0, 0, time.UTC)
	return int(b.Sub(a) / (24 * time.Hour))
}

// ago is an age in one unit: "4 s", "17 min", "3 h", "12 days".
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// millis is a time in milliseconds with three digits that count.
func millis(seconds float64) string {
	ms := seconds * 1000
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

// rtt is "11.2/14.0 ms", or "-" where nothing was timed.
func rtt(p50, p95 *float64) string {
	if p50 == nil || p95 == nil || math.IsNaN(*p50) || math.IsNaN(*p95) {
		return "-"
	}
	return millis(*p50) + " / " + millis(*p95) + " ms"
}

func loss(ratio *float64) string {
	if ratio == nil || math.IsNaN(*ratio) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", *ratio*100)
}

func handshake(age *float64) string {
	if age == nil || math.IsNaN(*age) {
		return "-"
	}
	return ago(time.Duration(min(*age, 1e9) * float64(time.Second)))
}
