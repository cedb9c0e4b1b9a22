package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// historyOf prints what this gateway kept of one check or tunnel.
func historyOf(ctx context.Context, std cli.IO, name, since, format string) error {
	from, err := parseSince(since, time.Now())
	if err != nil {
		return err
	}
	h, err := client().History(ctx, name, from)
	if err != nil {
		return advise(err)
	}
	if format == "json" {
		return writeJSON(std.Out, h)
	}
	return writeHistory(std.Out, h, time.Local)
}

// parseSince reads how long ago, "2h" or "3d", or a day or time in local time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+" ", "%d ", &n); err == nil && n > 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("15:04", s, time.Local); err == nil { // as status shows it: the last time that it was so late
		t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, time.Local)
		if t.After(now) {
			t = t.AddDate(0, 0, -1)
		}
		return t, nil
	}
	return time.Time{}, cli.Usagef("--since %q: as in 2h, 3d, 13:55, 2026-11-20 or \"2026-11-20 14:00\"", s)
}

// columns is how wide the course of a history is.
const columns = 50

// writeHistory draws the course of times and losses, and lists the changes.
func writeHistory(w io.Writer, h local.History, loc *time.Location) error {
	if len(h.Points) == 0 {
		_, err := fmt.Fprintf(w, "%s: nothing was kept since %s\n", h.Name, h.From.In(loc).Format("Mon 2 Jan 15:04"))
		return err
	}
	course := courseOf(h)
	var sent, received uint64
	top := 0.0
	for _, p := range h.Points {
		sent, received, top = sent+p.Sent, received+p.Received, max(top, p.Max)
	}
	fmt.Fprintf(w, "%s  %s to %s\n\n", h.Name, h.From.In(loc).Format("Mon 2 Jan 15:04"), h.To.In(loc).Format("Mon 2 Jan 15:04"))
	lowest, highest := course.rtt()
	if highest > 0 {
		fmt.Fprintf(w, "RTT p50  %s  %s\n", pad(spark(course.p50)), between(lowest, highest))
	}
	if sent > 0 {
		fmt.Fprintf(w, "loss     %s  %s\n", pad(spark(course.loss)), share(sent-received, sent))
		fmt.Fprintf(w, "         %s\n\n%d of %d answered", course.axis(h, loc), received, sent)
		if top > 0 {
			fmt.Fprintf(w, ", slowest %s", milliseconds(top))
		}
		fmt.Fprintln(w)
	}
	writeNow(w, h.Now, loc)
	for _, line := range events(h, loc) {
		fmt.Fprintln(w, line)
	}
	return nil
}

// events are gaps, changes and evidence in the order of their times.
func events(h local.History, loc *time.Location) []string {
	type event struct {
		at   time.Time
		line string
	}
	var list []event
	for _, g := range h.Gaps {
		list = append(list, event{g.From, fmt.Sprintf("%s to %s  not measured: %s", g.From.In(loc).Format("Mon 15:04:05"), g.To.In(loc).Format("15:04:05"), g.Reason)})
	}
	for _, c := range h.Edges {
		line := fmt.Sprintf("%s  %s -> %s", c.At.In(loc).Format("Mon 15:04:05"), c.From, c.To)
		if why := strings.TrimSpace(cli.Printable(c.Text) + "  " + c.Code); why != "" {
			line += "  " + cli.Wrap(why, edge-len(line)-2, "    ")
		}
		list = append(list, event{c.At, line})
	}
	for _, e := range h.Evidence {
		list = append(list, event{e.At, fmt.Sprintf("%s  what was seen: ginnel evidence %s", e.At.In(loc).Format("Mon 15:04:05"), e.ID)})
	}
	slices.SortStableFunc(list, func(a, b event) int { return a.at.Compare(b.at) })
	lines := make([]string, len(list))
	for i, e := range list {
		lines[i] = e.line
	}
	return lines
}

// writeNow says how it is at this moment: the minute that runs is in no column
// yet.
func writeNow(w io.Writer, now *local.HistoryNow, loc *time.Location) {
	if now == nil {
		return
	}
	line := fmt.Sprintf("now %s, since %s", now.State, now.Since.In(loc).Format("Mon 15:04:05"))
	if why := strings.TrimSpace(cli.Printable(now.Text) + "  " + now.Code); why != "" {
		line += ": " + why
	}
	fmt.Fprintln(w, cli.Wrap(line, edge, "    "))
}

// course is a history in columns of equal time; NaN where nothing was measured.
type course struct{ p50, loss []float64 }

// courseOf puts each point into the column of its start. Of several medians in a
// column the highest stands: percentiles have no mean.
func courseOf(h local.History) course {
	c := course{make([]float64, columns), make([]float64, columns)}
	sent, lost := make([]uint64, columns), make([]uint64, columns)
	for i := range columns {
		c.p50[i], c.loss[i] = math.NaN(), math.NaN()
	}
	span := h.To.Sub(h.From)
	for _, p := range h.Points {
		i := min(max(int(int64(p.Start.Sub(h.From))*columns/int64(max(span, 1))), 0), columns-1)
		if p.P50 > 0 && !(c.p50[i] > p.P50) {
			c.p50[i] = p.P50
		}
		sent[i], lost[i] = sent[i]+p.Sent, lost[i]+p.Sent-p.Received
	}
	for i, n := range sent {
		if n > 0 {
			c.loss[i] = float64(lost[i]) / float64(n)
		}
	}
	return c
}

// rtt is the lowest and the highest column, in seconds; 0 where there is none.
func (c course) rtt() (low, high float64) {
	for _, v := range c.p50 {
		if math.IsNaN(v) {
			continue
		}
		if low == 0 || v < low {
			low = v
		}
		high = max(high, v)
	}
	return low, high
}

// axis has the time at its ends.
func (course) axis(h local.History, loc *time.Location) string {
	layout := "15:04"
	if h.To.Sub(h.From) > 24*time.Hour {
		layout = "2 Jan 15:04"
	}
	left, right := h.From.In(loc).Format(layout), h.To.In(loc).Format(layout)
	return left + strings.Repeat(" ", columns-len(left)-len(right)) + right
}

func pad(s string) string { return s + strings.Repeat(" ", max(0, columns-len([]rune(s)))) }

// between are two times, in seconds, on as few characters as tell them apart.
func between(low, high float64) string {
	if high < 0.001 {
		return fmt.Sprintf("%.3f to %.3f ms", low*1e3, high*1e3)
	}
	return fmt.Sprintf("%.1f to %.1f ms", low*1e3, high*1e3)
}

func share(k, n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(k)/float64(n))
}
