package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const columns = 80

// Text writes the report for people: at most 80 columns, unless a name is
// longer.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.Title())
	r.services(&b)
	r.outages(&b)
	for _, s := range r.Services {
		if line := s.RoundTrip(); line != "" {
			fmt.Fprintln(&b, wrap(line))
		}
	}
	fmt.Fprintln(&b, wrap(r.Measured()))
	_, err := io.WriteString(w, b.String())
	return err
}

// Title is "Avocet Surgery, November 2026 (Europe/London)".
func (r *Report) Title() string {
	until := ""
	if !r.Whole {
		until = " until " + r.local(r.To).Format("Mon 2 15:04")
	}
	return fmt.Sprintf("%s, %s%s (%s)", r.Name, r.local(r.From).Format("January 2006"), until, r.Zone)
}

func (r *Report) local(t time.Time) time.Time {
	loc, err := time.LoadLocation(r.Zone)
	if err != nil {
		loc = time.UTC
	}
	return t.In(loc)
}

func (r *Report) services(b *strings.Builder) {
	if len(r.Services) == 0 {
		fmt.Fprint(b, "Nothing was checked.\n\n")
		return
	}
	width := 16
	maintained := false
	for _, s := range r.Services {
		width = max(width, utf8.RuneCountInString(s.Name))
		maintained = maintained || s.Maintenance > 0
	}
	for _, s := range r.Services {
		fmt.Fprintf(b, "%s    up %5s %%    down %4s %%    unknown %4s %%", pad(s.Name, width), s.Up, s.Down, s.Unknown)
		if maintained {
			fmt.Fprintf(b, "\n%s    maintenance %s %%", pad("", width), s.Maintenance)
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "%s\n\n", wrap(r.OpenHours()))
}

// OpenHours says what was down while the site was open.
func (r *Report) OpenHours() string {
	var parts []string
	for _, s := range r.Services {
		parts = append(parts, fmt.Sprintf("%s %s down", s.Short, minutes(s.DownOpen)))
	}
	return "In opening hours: " + strings.Join(parts, ", ") + "."
}

// minutes rounds up: 20 seconds down are not 0 minutes.
func minutes(seconds float64) string {
	n := int(math.Ceil(seconds/60 - 1e-9))
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

// Widths of the table of outages.
const (
	whenWidth   = 22
	lastedWidth = 6
	whatWidth   = 13
	stepWidth   = 24
)

func (r *Report) outages(b *strings.Builder) {
	if len(r.Outages) == 0 {
		fmt.Fprint(b, "No outages.\n\n")
		return
	}
	fmt.Fprintln(b, "OUTAGES                LASTED   WHAT STOPPED   FIRST BROKEN STEP         WHOSE")
	for _, o := range r.Outages {
		what, steps := fold(o.What(), whatWidth), fold(o.Steps(), stepWidth)
		for i := range max(len(what), len(steps)) {
			when, lasted, whose := "", "", ""
			if i == 0 {
				when, lasted, whose = r.When(o.From, o.To), o.Lasted(), o.Whose()
			}
			line := fmt.Sprintf("%s %s   %s  %s  %s", pad(when, whenWidth), padLeft(lasted, lastedWidth),
				pad(at(what, i), whatWidth), pad(at(steps, i), stepWidth), whose)
			fmt.Fprintln(b, strings.TrimRight(line, " "))
		}
	}
	fmt.Fprintln(b)
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// When is "Tue 24  13:55-14:26", or with the day of its end if that is another.
func (r *Report) When(from, to time.Time) string {
	f, t := r.local(from), r.local(to)
	end := t.Format("15:04")
	midnight := t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0
	switch last := t.Add(-time.Nanosecond); {
	case f.YearDay() == last.YearDay() && f.Year() == last.Year():
		if midnight {
			end = "24:00"
		}
		return fmt.Sprintf("%-6s  %s-%s", f.Format("Mon 2"), f.Format("15:04"), end)
	case t.Sub(f) < 6*24*time.Hour:
		return f.Format("Mon 2 15:04") + "-" + t.Format("Mon 15:04")
	default:
		return f.Format("Mon 2 15:04") + "-" + last.Format("Mon 2")
	}
}

// Lasted is "31 min".
func (o Outage) Lasted() string { return lasted(o.DownFor) }

func lasted(seconds float64) string {
	switch {
	case seconds < 59.5:
		return fmt.Sprintf("%.0f s", max(1, seconds))
	case seconds < 600*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	default:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
}

// What is what stopped.
func (o Outage) What() string {
	if o.All {
		return "everything"
	}
	return strings.Join(o.Stopped, ", ")
}

// Steps is the first broken step, and how often it broke.
func (o Outage) Steps() string {
	if o.Times > 1 {
		return fmt.Sprintf("%s (%d times)", o.Step, o.Times)
	}
	return o.Step
}

// Whose is whose it is; "-" where that is not known.
func (o Outage) Whose() string {
	if o.Owner == "" {
		return "-"
	}
	return o.Owner
}

// RoundTrip says how long answers took; empty: none were timed.
func (s Service) RoundTrip() string {
	if s.RTT == nil {
		return ""
	}
	return fmt.Sprintf("Round trip to %s: half within %s, 95 of 100 within %s.", s.Short, millis(s.RTT.P50), millis(s.RTT.P95))
}

// millis rounds up, because it says "within".
func millis(seconds float64) string {
	return fmt.Sprintf("%d ms", max(1, int(math.Ceil(seconds*1000-1e-9))))
}

// listed is how many gaps the text names: the longest.
const listed = 6

// Measured says how much of the month was measured, and what not.
func (r *Report) Measured() string {
	of := "the month"
	if !r.Whole {
		of = "this time"
	}
	line := fmt.Sprintf("We measured %s %% of %s.", r.Coverage, of)
	if len(r.Unwatched) == 0 {
		return line
	}
	longest := slices.Clone(r.Unwatched)
	slices.SortStableFunc(longest, func(a, b Gap) int { return -cmpDuration(a, b) })
	rest := longest[min(listed, len(longest)):]
	longest = longest[:min(listed, len(longest))]
	slices.SortStableFunc(longest, func(a, b Gap) int { return a.From.Compare(b.From) })
	var parts []string
	for _, g := range longest {
		parts = append(parts, strings.Join(strings.Fields(r.When(g.From, g.To)), " ")+", "+g.Reason)
	}
	if len(rest) > 0 {
		var sum float64
		for _, g := range rest {
			sum += g.To.Sub(g.From).Seconds()
		}
		parts = append(parts, fmt.Sprintf("and %d shorter, %s in all", len(rest), lasted(sum)))
	}
	return line + " Not measured: " + strings.Join(parts, "; ") + "."
}

func cmpDuration(a, b Gap) int {
	x, y := a.To.Sub(a.From), b.To.Sub(b.From)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s))) + s
}

func wrap(s string) string { return strings.Join(fold(s, columns), "\n") }

// fold breaks s between words into lines of at most width, if it can.
func fold(s string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
