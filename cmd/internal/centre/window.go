package centre

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // windows are Europe/London's, also where the host has no time zones

	"github.com/ginnel/ginnel/agent/block"
)

// Window is when a gateway may be given a new config, by the clocks on the
// walls of its site (Europe/London): hours that a change of the clocks leaves
// out are not there, hours that it repeats are there twice. The zero Window is
// always open. It can be compared with ==.
type Window struct {
	text     string
	days     [7]bool // of its beginning, by time.Weekday
	from, to int     // minutes of the day; to <= from: on the next day
}

// dayNames are those of time.Weekday.
var dayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// zone is where windows are.
var zone = func() *time.Location {
	z, err := time.LoadLocation(block.Zone)
	if err != nil {
		panic(err) // the tables are linked in
	}
	return z
}()

// ParseWindow reads "Mon-Thu 19:00-23:00", "Sat,Sun 08:00-12:00", "02:00-04:00"
// (every day); hours may run over midnight, as in "Fri 22:00-02:00". Empty and
// "always" are the zero Window.
func ParseWindow(text string) (Window, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == "always" {
		return Window{}, nil
	}
	bad := func(what string) (Window, error) {
		return Window{}, fmt.Errorf("window %q: %s; write it as Mon-Thu 19:00-23:00", text, what)
	}
	w := Window{text: text}
	fields := strings.Fields(text)
	if len(fields) == 1 {
		fields = []string{"Mon-Sun", fields[0]}
	}
	if len(fields) != 2 {
		return bad("it is not days and hours")
	}
	for part := range strings.SplitSeq(fields[0], ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if from < 0 || to < 0 {
			return bad(fmt.Sprintf("%q are no days", part))
		}
		for d := from; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == to {
				break
			}
		}
	}
	from, to, ok := strings.Cut(fields[1], "-")
	var okFrom, okTo bool
	w.from, okFrom = minute(from)
	w.to, okTo = minute(to)
	if !ok || !okFrom || !okTo || w.from == w.to || w.from == 24*60 {
		return bad(fmt.Sprintf("%q are no hours", fields[1]))
	}
	return w, nil
}

// minute reads "19:00" as minutes since midnight; "24:00" is the end of a day.
func minute(text string) (int, bool) {
	h, m, ok := strings.Cut(text, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	n := int(hour*60 + minute)
	return n, ok && len(h) == 2 && len(m) == 2 && err1 == nil && err2 == nil && minute < 60 && n <= 24*60
}

// String is what was parsed; empty: always.
func (w Window) String() string { return w.text }

// Open says whether t lies in the window.
func (w Window) Open(t time.Time) bool {
	if w.text == "" {
		return true
	}
	t = t.In(zone)
	now, day := t.Hour()*60+t.Minute(), int(t.Weekday())
	if w.from < w.to {
		return w.days[day] && w.from <= now && now < w.to
	}
	return w.days[day] && now >= w.from || w.days[(day+6)%7] && now < w.to
}

// Opens is when it is next open: t itself where it is. Closes is when it next
// is not, zero where that is never.
func (w Window) Opens(t time.Time) time.Time {
	if w.Open(t) {
		return t
	}
	return w.change(t)
}

// Closes is when the window, open at t, is next shut; zero: never.
func (w Window) Closes(t time.Time) time.Time {
	if w.text == "" {
		return time.Time{}
	}
	return w.change(t)
}

// change is the first time after t at which Open is not what it is at t, zero
// where there is none. That is where the window begins or ends, on days with
// and without a change of the clocks, or where they change.
func (w Window) change(t time.Time) time.Time {
	_, clocks := t.In(zone).ZoneBounds()
	at := []time.Time{clocks}
	y, m, d := t.In(zone).Date()
	for day := d - 1; day <= d+15; day++ { // one a week may be in the hour that is left out
		for _, minutes := range []int{w.from, w.to} {
			edge := time.Date(y, m, day, 0, minutes, 0, 0, zone)
			at = append(at, edge.Add(-time.Hour), edge, edge.Add(time.Hour)) // an hour may be there twice
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	was := w.Open(t)
	for _, u := range at {
		if u.After(t) && w.Open(u) != was {
			return u
		}
	}
	return time.Time{}
}

// Zone is where windows are.
func Zone() *time.Location { return zone }
