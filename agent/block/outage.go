package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// near is how far apart two ends of one outage may be: what hangs on a broken
// thing is found broken a little before or after it; and an outage of the same
// cause that is back this soon is the same outage.
const near = 5 * time.Minute

// Outage is one cause and all that it stopped.
type Outage struct {
	From, To time.Time
	Down     time.Duration // less than To-From when it came and went
	Times    int           // how often it came
	Stopped  []string      // Service.Short, in the order of the services
	All      bool          // that is all services, and more than one
	Cause
}

// fall is one service down without a break, and what it hangs on.
type fall struct {
	Span
	service int
	root    string // the same for falls of the same cause
}

// Outages joins what the services were down for by its cause, oldest first.
func (r *Record) Outages(services []Service) []Outage {
	falls := r.falls(services)
	var outages []Outage
	for len(falls) > 0 {
		group, rest := takeGroup(falls)
		falls = rest
		outages = append(outages, join(group, services))
	}
	slices.SortStableFunc(outages, func(a, b Outage) int { return a.From.Compare(b.From) })
	return outages
}

// takeGroup takes the first fall and all that belong to its outage.
func takeGroup(falls []fall) (group, rest []fall) {
	group = falls[:1:1]
	to := group[0].To
	for _, f := range falls[1:] {
		if f.root == group[0].root && !f.From.After(to.Add(near)) {
			group = append(group, f)
			to = later(to, f.To)
			continue
		}
		rest = append(rest, f)
	}
	return group, rest
}

func join(group []fall, services []Service) Outage {
	o := Outage{From: group[0].From, To: group[0].To}
	stopped := make([]bool, len(services))
	end := group[0].From
	for _, f := range group {
		stopped[f.service] = true
		if f.From.After(end) || o.Times == 0 {
			o.Times++
		}
		o.Down += max(0, f.To.Sub(later(end, f.From)))
		end = later(end, f.To)
		o.To = later(o.To, f.To)
		o.Cause = clearer(o.Cause, f.Cause)
	}
	for i, s := range services {
		if stopped[i] {
			o.Stopped = append(o.Stopped, s.Short)
		}
	}
	o.All = len(services) > 1 && len(o.Stopped) == len(services)
	return o
}

// falls gives all times that a service was down, by their beginning.
func (r *Record) falls(services []Service) []fall {
	var falls []fall
	subjects := r.Subjects()
	for i, s := range services {
		var bearers []bearer
		for _, b := range subjects {
			if slices.ContainsFunc(s.networks(), func(n string) bool { return carries(b, n) }) {
				bearers = append(bearers, bearer{b, r.downs(b)})
			}
		}
		for _, span := range s.Spans {
			if span.State != checks.Down {
				continue
			}
			f := fall{Span: span, service: i, root: "service " + s.Name}
			if span.Text != "" {
				f.root = "cause " + span.Code + "|" + span.Text + "|" + span.Owner
			}
			f.blame(bearers)
			falls = append(falls, f)
		}
	}
	slices.SortStableFunc(falls, func(a, b fall) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.service, b.service))
	})
	return falls
}

// networks gives what the service goes through; "" is beside the tunnels.
func (s Service) networks() []string {
	if len(s.checks) == 0 {
		return []string{s.Network}
	}
	var list []string
	for _, c := range s.checks {
		list = append(list, c.Network)
	}
	return list
}

// bearer is a tunnel or the site, with when it was down.
type bearer struct {
	Subject
	downs []Span
}

// blame finds the broken thing that f hangs on, if there is one: it was down
// with f and not much later. The site's own line comes before a tunnel, unless
// the tunnel was down long before; of tunnels, the first to fall.
func (f *fall) blame(bearers []bearer) {
	var best, tunnel *Span // of tunnels, the first to fall
	var root Subject
	for i := range bearers {
		for j := range bearers[i].downs {
			d := &bearers[i].downs[j]
			if !d.From.Before(f.To) || !f.From.Before(d.To) || d.From.After(f.From.Add(near)) {
				continue
			}
			site := bearers[i].Class == SiteClass
			if !site && (tunnel == nil || d.From.Before(tunnel.From)) {
				tunnel = d
			}
			switch {
			case best == nil,
				site && d.From.Before(best.From.Add(near)),
				root.Class == SiteClass && d.From.Before(best.From.Add(-near)),
				root.Class != SiteClass && d.From.Before(best.From):
				best, root = d, bearers[i].Subject
			}
		}
	}
	if best == nil {
		return
	}
	f.root = string(root.Class) + " " + root.Name
	if root.Class == SiteClass && best.Owner == "" && tunnel != nil {
		best = tunnel // the site only says in sum what its tunnels say
	}
	f.Cause = clearer(best.Cause, f.Cause)
}

// clearer gives the first cause, unless only the second says what broke, or whose
// it is.
func clearer(a, b Cause) Cause {
	score := func(c Cause) int {
		switch {
		case c.Text != "" && c.Owner != "":
			return 3
		case c.Text != "":
			return 2
		case c.Reason != "" && c.Reason != checks.Blocked:
			return 1
		}
		return 0
	}
	if score(b) > score(a) {
		return b
	}
	return a
}
