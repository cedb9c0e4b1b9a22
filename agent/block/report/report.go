// Package report writes a site's health report: a month of a gateway's blocks as
// text, JSON or a value that a page is made from. The gateway and the centre run
// the same code over the same blocks and print the same bytes.
package report

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks/hist"
)

// Site is whom the report is about.
type Site struct {
	ID      string // "avocet"
	Name    string // "Avocet Surgery"; empty: ID
	Gateway string // "avocet-1"
	Hours   block.Hours
}

// Period is what the report is about: a calendar month in block.Zone, or the
// part of it until Until.
type Period struct {
	Year  int
	Month time.Month
	Until time.Time // zero, or after the month: the whole month
}

// Span gives the period as [from, to), and the zone in which to print it.
func (p Period) Span() (from, to time.Time, err error) {
	from, to, err = block.Month(p.Year, p.Month, block.Zone)
	if err == nil && !p.Until.IsZero() && p.Until.Before(to) {
		to = p.Until.In(to.Location())
	}
	if err == nil && !from.Before(to) {
		err = fmt.Errorf("%s has not begun", from.Format("January 2006"))
	}
	return from, to, err
}

// Margin is how much before and after the period blocks should be read: an edge
// may be dated back over a month's end, and a thinned block may begin before it.
const Margin = time.Hour

// Report is what was computed. Its JSON names are stable. Percentages of a line
// add up to exactly 100.00: down, unknown and maintenance are rounded to the
// nearest 0.01 but never to 0.00, up is what is left.
type Report struct {
	Site      string        `json:"site"`
	Name      string        `json:"name"`
	Gateway   string        `json:"gateway"`
	Month     string        `json:"month"` // "2026-11"
	Zone      string        `json:"zone"`
	From      time.Time     `json:"from"`
	To        time.Time     `json:"to"`
	Whole     bool          `json:"whole"` // false: the month was not over
	Hours     string        `json:"opening_hours"`
	Coverage  block.Percent `json:"coverage_percent"` // 100.00 only if all was measured
	Blocks    int           `json:"blocks"`
	Thinned   int           `json:"thinned_blocks"` // of Blocks: those whose figures were joined
	Services  []Service     `json:"services"`
	Outages   []Outage      `json:"outages"` // newest first
	Unwatched []Gap         `json:"not_measured"`
}

// Service is one line of the report.
type Service struct {
	Name        string        `json:"name"`
	Short       string        `json:"short"`
	Network     string        `json:"network,omitempty"`
	Up          block.Percent `json:"up_percent"`
	Down        block.Percent `json:"down_percent"`
	Unknown     block.Percent `json:"unknown_percent"`
	Maintenance block.Percent `json:"maintenance_percent"`
	UpFor       float64       `json:"up_seconds"` // with degraded
	DegradedFor float64       `json:"degraded_seconds"`
	DownFor     float64       `json:"down_seconds"`
	UnknownFor  float64       `json:"unknown_seconds"`
	DownOpen    float64       `json:"down_in_opening_hours_seconds"`
	Sent        uint64        `json:"sent"`
	Received    uint64        `json:"received"`
	RTT         *RTT          `json:"rtt"` // null: nothing was timed
}

// RTT is the round trip, in seconds.
type RTT struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_seconds"`
	P95   float64 `json:"p95_seconds"`
	P99   float64 `json:"p99_seconds"`
}

// Outage is one cause and what it stopped.
type Outage struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	DownFor float64   `json:"down_seconds"`
	Times   int       `json:"times"`
	Stopped []string  `json:"stopped"`
	All     bool      `json:"everything"`
	Step    string    `json:"first_broken_step"`
	Code    string    `json:"code,omitempty"`
	Owner   string    `json:"whose"` // empty: not known
}

// Gap is time that was not measured.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// Compute makes the report from the gateway's blocks that overlap the period,
// with Margin around it. Blocks should come in the order of their start, as spool
// and store give them; one that comes twice, or within the range of a thinned
// one, counts once.
func Compute(p Period, s Site, blocks iter.Seq2[*block.Block, error]) (*Report, error) {
	from, to, err := p.Span()
	if err != nil {
		return nil, err
	}
	record := block.NewRecord(from, to)
	figures := newFigures(from, to)
	for b, err := range blocks {
		if err != nil {
			return nil, fmt.Errorf("report of %s for %s: %w", s.ID, from.Format("2006-01"), err)
		}
		record.Add(b)
		figures.add(b)
	}
	figures.flush()
	r := &Report{
		Site: s.ID, Name: cmp.Or(s.Name, s.ID), Gateway: s.Gateway, Month: from.Format("2006-01"), Zone: block.Zone,
		From: from.UTC(), To: to.UTC(), Hours: s.Hours.String(),
		Coverage: block.Part(record.Coverage(), to.Sub(from)), Blocks: figures.blocks, Thinned: figures.thinned,
		Services: []Service{}, Outages: []Outage{}, Unwatched: []Gap{},
	}
	_, end, _ := Period{Year: p.Year, Month: p.Month}.Span()
	r.Whole = to.Equal(end)
	services := record.Services()
	for _, v := range services {
		r.Services = append(r.Services, service(v, s.Hours, figures))
	}
	for _, o := range slices.Backward(record.Outages(services)) {
		r.Outages = append(r.Outages, Outage{
			From: o.From, To: o.To, DownFor: o.Down.Seconds(), Times: o.Times, Stopped: o.Stopped, All: o.All,
			Step: step(o.Cause), Code: o.Code, Owner: o.Owner,
		})
	}
	for _, g := range record.Missing() {
		r.Unwatched = append(r.Unwatched, Gap{g.From, g.To, g.Reason})
	}
	return r, nil
}

func service(v block.Service, hours block.Hours, f *figures) Service {
	shares := block.Share(v.Spans)
	s := Service{
		Name: v.Name, Short: v.Short, Network: v.Network,
		UpFor: shares.Up.Seconds(), DegradedFor: shares.Degraded.Seconds(), DownFor: shares.Down.Seconds(), UnknownFor: shares.Unknown.Seconds(),
	}
	s.Up, s.Down, s.Unknown, s.Maintenance = shares.Percents()
	for _, span := range v.Spans {
		if span.State == downState {
			s.DownOpen += hours.Open(span.From, span.To).Seconds()
		}
	}
	if sum := f.of(v); sum != nil {
		s.Sent, s.Received = sum.sent, sum.received
		if sum.rtt.Count() > 0 {
			s.RTT = &RTT{sum.rtt.Count(), seconds(&sum.rtt, 0.50), seconds(&sum.rtt, 0.95), seconds(&sum.rtt, 0.99)}
		}
	}
	return s
}

// seconds gives a quantile to the microsecond.
func seconds(h *hist.Histogram, q float64) float64 {
	return h.Quantile(q).Round(time.Microsecond).Seconds()
}
