package web

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// top is the upper end of the scale: the first round number that holds all.
func (s *series) top() time.Duration {
	most := time.Millisecond
	for _, p := range s.points {
		most = max(most, p.p95)
	}
	for unit := time.Duration(1); unit < math.MaxInt64/100; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 4, 5, 8} {
			if n*unit >= most {
				return n * unit
			}
		}
	}
	return most
}

// The picture's size and its plot within, in the units of its view box.
const (
	width, height = 340.0, 130.0
	left, right   = 60.0, 334.0
	above, below  = 8.0, 106.0
)

func (s *series) draw(from, to time.Time) chart {
	top := s.top()
	x := func(t time.Time) float64 {
		share := float64(t.Sub(from)) / float64(to.Sub(from))
		return left + min(max(share, 0), 1)*(right-left)
	}
	y := func(d time.Duration) float64 { return below - float64(d)/float64(top)*(below-above) }

	c := chart{Title: s.title(), Words: s.words()}
	var w strings.Builder
	fmt.Fprintf(&w, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(c.Title+": "+c.Words))
	for _, d := range s.down {
		fmt.Fprintf(&w, `<rect class="was-down" fill="url(#hatch)" x="%.1f" y="%g" width="%.1f" height="%g"/>`, x(d.from), above, max(x(d.to)-x(d.from), 1), below-above)
	}
	for i := range 3 {
		d := top * time.Duration(i) / 2
		fmt.Fprintf(&w, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="scale" text-anchor="end" x="%g" y="%.1f">%s</text>`,
			left, right, y(d), y(d), left-6, y(d)+4, scale(d))
	}
	for i := range 5 {
		t := from.Add(charted * time.Duration(i) / 4)
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case 4:
			anchor = "end"
		}
		fmt.Fprintf(&w, `<text class="scale" text-anchor="%s" x="%.1f" y="%g">%s</text>`, anchor, x(t), below+18, t.Format("15:04"))
	}
	for _, run := range s.runs() {
		drawRun(&w, run, x, y)
	}
	w.WriteString(`</svg>`)
	c.SVG = template.HTML(w.String()) // made here of numbers and escaped text
	return c
}

// drawRun draws the band from p50 to p95 and the line of p50. A run of one
// block is drawn as long as the block.
func drawRun(w *strings.Builder, run []point, x func(time.Time) float64, y func(time.Duration) float64) {
	if len(run) == 1 {
		a, b := run[0], run[0]
		a.at, b.at = a.at.Add(-a.length/2), b.at.Add(b.length/2)
		run = []point{a, b}
	}
	var band, line strings.Builder
	for _, p := range run {
		fmt.Fprintf(&line, "%.1f,%.1f ", x(p.at), y(p.p50))
		fmt.Fprintf(&band, "%.1f,%.1f ", x(p.at), y(p.p95))
	}
	for _, p := range slices.Backward(run) {
		fmt.Fprintf(&band, "%.1f,%.1f ", x(p.at), y(p.p50))
	}
	fmt.Fprintf(w, `<polygon class="band" points="%s"/><polyline class="line" points="%s"/>`,
		strings.TrimSpace(band.String()), strings.TrimSpace(line.String()))
}

func scale(d time.Duration) string {
	switch {
	case d == 0:
		return "0 ms"
	case d < time.Second:
		return fmt.Sprintf("%g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

func (s *series) title() string {
	if s.class == block.TunnelClass {
		network, hub, ok := strings.Cut(s.name, "/")
		if ok {
			return network + " to " + hub
		}
		return s.name
	}
	if s.Target == "" {
		return s.name
	}
	return s.name + ", " + s.Target
}

// words sums the series up: the newest figures, the range, and time down.
func (s *series) words() string {
	var parts []string
	if n := len(s.points); n > 0 {
		low, high := s.points[0].p50, s.points[0].p95
		for _, p := range s.points {
			low, high = min(low, p.p50), max(high, p.p95)
		}
		last := s.points[n-1]
		parts = append(parts, fmt.Sprintf("half within %s ms, 95 of 100 within %s ms in the last block; between %s and %s ms over the hour",
			millis(last.p50.Seconds()), millis(last.p95.Seconds()), millis(low.Seconds()), millis(high.Seconds())))
	} else {
		parts = append(parts, "no answer was timed")
	}
	var down time.Duration
	for _, d := range s.down {
		down += d.to.Sub(d.from)
	}
	if down > 0 {
		parts = append(parts, "down for "+ago(down))
	}
	return strings.Join(parts, "; ")
}
