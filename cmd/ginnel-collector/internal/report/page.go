package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/report"
)

//go:embed page.html
var source string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"minutes": minutes, "bar": bar, "stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).Parse(source))

// Page writes the report as a page that stands alone: no script, no other file.
func Page(w io.Writer, r *report.Report) error {
	if err := page.Execute(w, view{r}); err != nil {
		return fmt.Errorf("report of %s as a page: %w", r.Site, err)
	}
	return nil
}

// view is a report with what the page says about it in a sentence.
type view struct{ *report.Report }

// Summary is the one sentence to read.
func (v view) Summary() string {
	down := 0
	for _, s := range v.Services {
		if s.Down > 0 {
			down++
		}
	}
	switch {
	case len(v.Services) == 0:
		return "Nothing was checked."
	case v.Blocks == 0:
		return "Nothing was measured: we cannot tell how it was."
	case down == 0 && v.Coverage == 10000:
		return "Everything worked, all the time."
	case down == 0:
		return "As far as we measured, everything worked."
	case len(v.Outages) == 1:
		return "There was one outage."
	}
	return fmt.Sprintf("There were %d outages.", len(v.Outages))
}

func (v view) Timed() bool {
	for _, s := range v.Services {
		if s.RTT != nil {
			return true
		}
	}
	return false
}

// Gaps is Measured without its first sentence; empty: there were none.
func (v view) Gaps() []string {
	var list []string
	for i, g := range v.Unwatched {
		if i == 40 {
			return append(list, fmt.Sprintf("and %d more", len(v.Unwatched)-i))
		}
		list = append(list, strings.Join(strings.Fields(v.When(g.From, g.To)), " ")+", "+g.Reason)
	}
	return list
}

func minutes(seconds float64) string {
	n := int(seconds/60 + 0.999)
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

// part is a piece of the bar of a service, in hundredths of a percent.
type part struct {
	Class    string
	From, To float64 // percent of the width
}

// bar gives the pieces of a service's bar. A share too small to see is drawn one
// percent wide: the numbers beside it are exact.
func bar(s report.Service) []part {
	var parts []part
	at := 100.0
	for _, p := range []struct {
		class string
		share float64
	}{{"unknown", float64(s.Unknown) / 100}, {"maintenance", float64(s.Maintenance) / 100}, {"down", float64(s.Down) / 100}} {
		if p.share == 0 {
			continue
		}
		width := min(max(1, p.share), at)
		parts = append(parts, part{p.class, at - width, at})
		at -= width
	}
	if at > 0 {
		parts = append(parts, part{"up", 0, at})
	}
	return parts
}

// Width of the part.
func (p part) Width() float64 { return p.To - p.From }
