package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Service is what people call a thing that they need: all checks that stand for
// the same words, or a network that no check goes through.
type Service struct {
	Name    string // "Patient records"
	Short   string // "records", the first check's name
	Network string // of the first check; empty: beside the tunnels
	Spans   []Span // over the whole record, without a hole
	checks  []Subject
}

// Services gives what the site needs, in the order in which the blocks list it.
//
// A service is down while one of its checks is. A check that waits for a tunnel
// (or for the site's line) counts as down while that is known to be down, from
// then on and not only since it waits: what lies behind a dead tunnel cannot be
// reached. Otherwise what is unknown stays unknown, unless another check of the
// same service tells.
func (r *Record) Services() []Service {
	subjects := r.Subjects()
	var services []Service
	for _, s := range subjects {
		if s.Class != CheckClass {
			continue
		}
		name := cmp.Or(s.StandsFor, s.Name)
		i := slices.IndexFunc(services, func(v Service) bool { return v.Name == name })
		if i < 0 {
			i = len(services)
			services = append(services, Service{Name: name, Short: s.Name, Network: s.Network})
		}
		services[i].checks = append(services[i].checks, s)
	}
	for i := range services {
		var lines [][]Span
		for _, c := range services[i].checks {
			lines = append(lines, r.reached(c, subjects))
		}
		services[i].Spans = combine(lines, checkOrder)
	}
	return append(services, r.bareNetworks(subjects)...)
}

// Which state of several counts, first to last.
var (
	checkOrder  = []checks.State{checks.Down, checks.DegradedState, checks.Up, checks.MaintenanceMode, checks.UnknownState}
	tunnelOrder = []checks.State{checks.Up, checks.DegradedState, checks.MaintenanceMode, checks.UnknownState, checks.Down}
)

// bareNetworks gives the networks that no check goes through: up while one of
// their tunnels is.
func (r *Record) bareNetworks(subjects []Subject) []Service {
	var services []Service
	lines := make(map[string][][]Span)
	for _, s := range subjects {
		covered := slices.ContainsFunc(subjects, func(c Subject) bool { return c.Class == CheckClass && c.Network == s.Network })
		if s.Class != TunnelClass || covered {
			continue
		}
		if lines[s.Network] == nil {
			services = append(services, Service{Name: "Network " + s.Network, Short: s.Network, Network: s.Network})
		}
		lines[s.Network] = append(lines[s.Network], r.Timeline(s.Class, s.Name))
	}
	for i, s := range services {
		services[i].Spans = combine(lines[s.Network], tunnelOrder)
	}
	return services
}

// reached is a check's timeline in which waiting for what is down counts as down.
func (r *Record) reached(check Subject, subjects []Subject) []Span {
	var downs []Span
	for _, s := range subjects {
		if carries(s, check.Network) {
			downs = append(downs, r.downs(s)...)
		}
	}
	downs = union(downs)
	var line []Span
	for _, span := range r.Timeline(check.Class, check.Name) {
		if span.State != checks.UnknownState || span.Reason != checks.Blocked {
			line = appendSpan(line, span)
			continue
		}
		for _, d := range within(span, downs) {
			line = appendSpan(waited(line, d, downs), d)
		}
	}
	return line
}

// union joins spans that overlap, each with the cause of the first.
func union(spans []Span) []Span {
	slices.SortStableFunc(spans, func(a, b Span) int { return a.From.Compare(b.From) })
	var out []Span
	for _, s := range spans {
		if n := len(out) - 1; n >= 0 && !s.From.After(out[n].To) {
			out[n].To = later(out[n].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// waited corrects what was believed just before a check began to wait: when what
// it needs was down already, nothing answered any more, though the check had not
// failed often enough to be down.
func waited(line []Span, wait Span, downs []Span) []Span {
	n := len(line) - 1
	if n < 0 || wait.State != checks.Down || !line[n].To.Equal(wait.From) || line[n].State != checks.Up && line[n].State != checks.DegradedState {
		return line
	}
	for _, d := range downs {
		if !d.From.Before(wait.From) || !d.To.After(wait.From) || d.From.Before(wait.From.Add(-near)) {
			continue
		}
		from := later(line[n].From, d.From)
		d.From, d.To = from, wait.From
		line[n].To = from
		if !line[n].From.Before(from) {
			line = line[:n]
		}
		return appendSpan(line, d)
	}
	return line
}

// carries says whether what goes through network needs s.
func carries(s Subject, network string) bool {
	return s.Class == SiteClass || s.Class == TunnelClass && network != "" && s.Network == network
}

// within cuts span so that it is down where one of downs is.
func within(span Span, downs []Span) []Span {
	var cut []Span
	at := span
	for _, d := range downs {
		from, to := later(span.From, d.From), earlier(span.To, d.To)
		if !from.Before(to) {
			continue
		}
		if at.From.Before(from) {
			before := at
			before.To = from
			cut = append(cut, before)
		}
		d.From, d.To = from, to
		cut = append(cut, d)
		at.From = to
	}
	if at.From.Before(at.To) {
		cut = append(cut, at)
	}
	return cut
}

// downs gives the spans in which s was down.
func (r *Record) downs(s Subject) []Span {
	return slices.DeleteFunc(r.Timeline(s.Class, s.Name), func(p Span) bool { return p.State != checks.Down })
}

// combine lays timelines of the same time over each other; the first state of
// order that one of them has counts.
func combine(lines [][]Span, order []checks.State) []Span {
	if len(lines) == 1 {
		return lines[0]
	}
	var cuts []time.Time
	for _, l := range lines {
		for _, s := range l {
			cuts = append(cuts, s.From)
		}
	}
	slices.SortFunc(cuts, time.Time.Compare)
	cuts = slices.CompactFunc(cuts, time.Time.Equal)
	var line []Span
	at := make([]int, len(lines))
	for _, cut := range cuts {
		var best Span
		rank := len(order)
		var end time.Time
		for i, l := range lines {
			for !l[at[i]].To.After(cut) {
				at[i]++
			}
			if n := slices.Index(order, l[at[i]].State); n < rank {
				best, rank = l[at[i]], n
			}
			if i == 0 || l[at[i]].To.Before(end) {
				end = l[at[i]].To
			}
		}
		best.From, best.To = cut, end
		line = appendSpan(line, best)
	}
	return line
}
