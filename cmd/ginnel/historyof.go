package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
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
		enc := json.NewEncoder(std.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(h)
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
	return time.Time{}, cli.Usagef("--since %q: as in 2h, 3d, 2026-11-20 or \"2026-11-20 14:00\"", s)
}

// columns is how wide the course of a history is.
const columns = 60

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
	fmt.Fprintf(w, "RTT p50  %s  %s to %s\n", pad60(spark(course.p50)), milliseconds(lowest), milliseconds(highest))
	fmt.Fprintf(w, "loss     %s  %s\n", pad60(spark(course.loss)), share(sent-received, sent))
	fmt.Fprintf(w, "         %s\n\n", course.axis(h, loc))
	fmt.Fprintf(w, "%d of %d answered, slowest %s\n", received, sent, milliseconds(top))
	for _, g := range h.Gaps {
		fmt.Fprintf(w, "%s to %s  not measured: %s\n", g.From.In(loc).Format("Mon 15:04:05"), g.To.In(loc).Format("15:04:05"), g.Reason)
	}
	for _, c := range h.Edges {
		line := fmt.Sprintf("%s  %s -> %s", c.At.In(loc).Format("Mon 15:04:05"), c.From, c.To)
		if why := strings.TrimSpace(cli.Printable(c.Text) + "  " + c.Code); why != "" {
			line += "  " + cli.Wrap(why, edge-len(line)-2, "    ")
		}
		fmt.Fprintln(w, line)
	}
	for _, e := range h.Evidence {
		fmt.Fprintf(w, "%s  what was seen: ginnel evidence %s\n", e.At.In(loc).Format("Mon 15:04:05"), e.ID)
	}
	return nil
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

func pad60(s string) string { return s + strings.Repeat(" ", max(0, columns-len([]rune(s)))) }

func share(k, n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(k)/float64(n))
}
