package centre_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		window, at    string
		open          bool
		opens, closes string // empty: never
	}{
		{"", "2026-11-22T12:00:00Z", true, "2026-11-22T12:00:00Z", ""},
		{"always", "2026-11-22T12:00:00Z", true, "2026-11-22T12:00:00Z", ""},
		{"Mon-Thu 19:00-23:00", "2026-11-22T20:00:00Z", false, "2026-11-23T19:00:00Z", "2026-11-23T19:00:00Z"}, // a Sunday
		{"Mon-Thu 19:00-23:00", "2026-11-23T19:00:00Z", true, "2026-11-23T19:00:00Z", "2026-11-23T23:00:00Z"},
		{"Mon-Thu 19:00-23:00", "2026-11-26T23:00:00Z", false, "2026-11-30T19:00:00Z", "2026-11-30T19:00:00Z"},
		{"Mon-Thu 19:00-23:00", "2026-07-20T18:30:00Z", true, "2026-07-20T18:30:00Z", "2026-07-20T22:00:00Z"}, // summer time
		{"Fri 22:00-02:00", "2026-11-28T01:59:59Z", true, "2026-11-28T01:59:59Z", "2026-11-28T02:00:00Z"},     // Saturday, early
		{"Fri 22:00-02:00", "2026-11-27T01:00:00Z", false, "2026-11-27T22:00:00Z", "2026-11-27T22:00:00Z"},    // Friday, early
		{"Sat,Sun 00:00-24:00", "2026-11-21T00:00:00Z", true, "2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"00:00-24:00", "2026-11-21T00:00:00Z", true, "2026-11-21T00:00:00Z", ""},
		{"Sat-Mon 03:00-04:00", "2026-11-22T03:30:00Z", true, "2026-11-22T03:30:00Z", "2026-11-22T04:00:00Z"},
		// 2026-03-29: at 01:00 it is 02:00. 01:30 is not there that day.
		{"Sun 00:30-01:30", "2026-03-29T00:45:00Z", true, "2026-03-29T00:45:00Z", "2026-03-29T01:00:00Z"},
		{"Sun 01:00-02:00", "2026-03-29T00:30:00Z", false, "2026-04-05T00:00:00Z", "2026-04-05T00:00:00Z"},
		// 2026-10-25: at 02:00 it is 01:00 again. 01:30 is there twice.
		{"Sun 01:00-02:00", "2026-10-25T00:30:00Z", true, "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"},
		{"Sun 00:30-01:30", "2026-10-25T00:40:00Z", false, "2026-10-25T01:00:00Z", "2026-10-25T01:00:00Z"},
	} {
		w, err := centre.ParseWindow(tt.window)
		if err != nil {
			t.Error(err)
			continue
		}
		now := at(t, tt.at)
		if got := w.Open(now); got != tt.open {
			t.Errorf("%q at %s: open %v", tt.window, tt.at, got)
		}
		if got := text(w.Opens(now)); got != tt.opens {
			t.Errorf("%q at %s: opens %s, want %s", tt.window, tt.at, got, tt.opens)
		}
		if got := text(w.Closes(now)); tt.open && got != tt.closes {
			t.Errorf("%q at %s: closes %s, want %s", tt.window, tt.at, got, tt.closes)
		}
	}
}

func text(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func TestWindowsThatAreNone(t *testing.T) {
	for _, bad := range []string{"Mon", "Mon 19:00", "Mon-Thu 19-23", "Mond 19:00-20:00", "Mon 19:00-25:00", "Mon 24:00-02:00", "Mon 19:60-20:00", "Mon 19:00-19:00",
		"Mon- 19:00-20:00", "Mon 19:00-20:00 x", "Mon, 19:00-20:00", "Mon +1:00-20:00", "19:00-23:00 Mon"} {
		if _, err := centre.ParseWindow(bad); err == nil || !strings.Contains(err.Error(), "write it as Mon-Thu 19:00-23:00") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Wherever in the year one asks, Opens and Closes are the edges of Open, and
// the next ones.
func TestWindowEdges(t *testing.T) {
	for range 200 {
		w, err := centre.ParseWindow([]string{"Mon-Thu 19:00-23:00", "Sun 00:30-01:30", "Fri 22:00-02:00", "01:00-01:01", "Sat 23:30-00:30", "Sun 01:00-01:30"}[rand.IntN(6)])
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1767225600+rand.Int64N(366*24*3600), 0) // in 2026
		if rand.IntN(2) == 0 {
			now = []time.Time{at(t, "2026-03-28T20:00:00Z"), at(t, "2026-10-24T20:00:00Z")}[rand.IntN(2)].Add(rand.N(8 * time.Hour))
		}
		opens := w.Opens(now)
		if want := until(w, now, true); !opens.Equal(want) {
			t.Errorf("%q from %v: opens %v, want %v", w, now, opens, want)
		}
		if got, want := w.Closes(opens), until(w, opens, false); !got.Equal(want) {
			t.Errorf("%q from %v: closes %v, want %v", w, opens, got, want)
		}
	}
}

// A window of one hour a week may lie in the hour that the clocks leave out; it
// is open again a week later.
func TestWindowInTheHourThatIsLeftOut(t *testing.T) {
	w, err := centre.ParseWindow("Sun 01:00-01:30")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.Opens(at(t, "2026-03-22T03:00:00Z")), at(t, "2026-04-05T00:00:00Z"); !got.Equal(want) {
		t.Errorf("opens %v, want %v", got, want)
	}
}

// until goes on minute by minute.
func until(w centre.Window, now time.Time, open bool) time.Time {
	for w.Open(now) != open {
		now = now.Truncate(time.Minute).Add(time.Minute)
	}
	return now
}
