package agent

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// gauges measure, for a trial, what it touches: more often than the checks do,
// which may look each five minutes, and counting nothing that was seen before
// the change. The record of measurements and the states that are shown hear
// nothing of it.
type gauges struct {
	a      *Agent
	record func() trial.Record

	mu    sync.Mutex // of what follows
	since time.Time  // the change that all of it is about
	of    map[string]*needle
}

// needle is what one part has shown since the change.
type needle struct {
	good   bool      // the last time
	first  time.Time // of those times that were good in a row
	failed int       // in a row
	text   string
	next   time.Time // not before
	seen   tunnels.Seen
	known  bool // seen is set
}

// How often a part must fail to be dead, how long an answer may take, and the
// pause between runs of a required check: targets of others are not to be
// hammered.
const (
	tunnelFails, checkFails = 5, 3
	gaugePatience           = 3 * time.Second
	checkPause              = 5 * time.Second
)

func (g *gauges) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of = map[string]*needle{}
}

// needles begins anew for each change. The caller holds mu.
func (g *gauges) needle(since time.Time, name string) *needle {
	if g.since != since {
		g.since, g.of = since, map[string]*needle{}
	}
	n := g.of[name]
	if n == nil {
		n = &needle{}
		g.of[name] = n
	}
	return n
}

// hurry shortens a time for a trial that is over soon; the times are made for
// one of 90 s.
func (g *gauges) hurry(d time.Duration) time.Duration {
	limit := g.record().Limit
	return min(d, max(d/10, time.Duration(float64(d)*limit.Seconds()/90)))
}

// Tunnels measures those that the change may be judged by; the others are told
// as the status shows them.
func (g *gauges) Tunnels(ctx context.Context, since time.Time) []trial.Part {
	r := g.record()
	judged := map[string]bool{}
	for _, p := range r.Tunnels {
		judged[p.Name] = p.Judged()
	}
	shown := g.shown()
	var parts []trial.Part
	for name, p := range shown {
		if !judged[name] {
			parts = append(parts, p)
		}
	}
	parts = append(parts, g.shutOut(judged)...)
	parts = append(parts, g.sites(since, judged, r)...)
	return append(parts, g.probe(ctx, since, judged)...)
}

// shutOut are the parts that a list took away since the trial began: no change is
// at fault.
func (g *gauges) shutOut(judged map[string]bool) (parts []trial.Part) {
	wanted := map[string]bool{}
	each(g.a.wants(), func(name string, _ tunnels.Network, _ string) { wanted[name] = true })
	for name := range judged {
		if judged[name] && !wanted[name] {
			parts = append(parts, trial.Part{Name: name, Now: trial.Good, Is: "shut out"})
		}
	}
	return parts
}

// probe asks the hubs of a site, all at once.
func (g *gauges) probe(ctx context.Context, since time.Time, judged map[string]bool) []trial.Part {
	var specs []checks.Spec
	for _, s := range g.statuses() {
		if s.Spec.Kind == TunnelKindName && judged[s.Spec.Name] && s.Spec.Target.StringOption("hub") != "" {
			s.Spec.Target.Timeout = g.hurry(gaugePatience)
			specs = append(specs, s.Spec)
		}
	}
	parts := g.measure(ctx, since, specs, tunnelFails, 0)
	for i := range parts {
		if was := g.before(parts[i].Name).Left; was.IsValid() && parts[i].Now == trial.Good {
			g.whence(&parts[i], was, since)
		}
	}
	return parts
}

// whence judges a tunnel that answers by where from: see left.
func (g *gauges) whence(p *trial.Part, was netip.AddrPort, since time.Time) {
	g.mu.Lock()
	first := g.needle(since, p.Name).first
	g.mu.Unlock()
	all := g.a.o.Tunnels.Status()
	if len(all) == 0 || all[0].Observed.Before(first) {
		g.a.o.Tunnels.Wake()
		p.Now, p.Is = trial.Unsure, "answers; from where is not seen yet"
		return
	}
	if calledAt(all)[p.Name] == was {
		p.Now, p.Is = stayed(was, endpointsOf(g.a.wants())[p.Name], g.a.o.Tunnels.Names())
	}
}

// Required measures the required checks.
func (g *gauges) Required(ctx context.Context, since time.Time) []trial.Part {
	judged := map[string]bool{}
	for _, p := range g.record().Checks {
		judged[p.Name] = p.Judged()
	}
	var specs []checks.Spec
	for _, s := range g.statuses() {
		if s.Spec.Kind != TunnelKindName && judged[s.Spec.Name] {
			s.Spec.Target.Timeout = min(s.Spec.Target.Timeout, g.hurry(gaugePatience))
			specs = append(specs, s.Spec)
		}
	}
	return g.measure(ctx, since, specs, checkFails, g.hurry(checkPause))
}

// measure runs specs that are due, and tells of all.
func (g *gauges) measure(ctx context.Context, since time.Time, specs []checks.Spec, fails int, every time.Duration) []trial.Part {
	g.a.mu.Lock()
	runner := g.a.runner
	g.a.mu.Unlock()
	parts := make([]trial.Part, len(specs))
	var wg sync.WaitGroup
	for i, s := range specs {
		g.mu.Lock()
		n := g.needle(since, s.Name)
		g.mu.Unlock()
		wg.Go(func() {
			if now := time.Now(); !now.Before(n.next) {
				n.next = now.Add(every)
				g.turn(n, s, runner.RunOnce(ctx, s), since)
			}
			parts[i] = n.part(s.Name, fails)
		})
	}
	wg.Wait()
	return parts
}

// turn takes a result. A tunnel without an echo is judged by its session only
// where it never gave one.
func (g *gauges) turn(n *needle, s checks.Spec, r checks.Result, since time.Time) {
	ok := r.Verdict == checks.OK || r.Verdict == checks.Degraded
	if s.Kind == TunnelKindName && r.Received == 0 {
		ok = !g.echoes(s.Name) && g.lives(n, s, since)
	} else if r.Verdict == checks.Unknown {
		n.good, n.text = false, r.Detail
		return
	}
	if ok {
		if !n.good {
			n.first = time.Now()
		}
		n.good, n.failed, n.text = true, 0, "answers"
		return
	}
	n.good, n.text = false, r.Detail
	if n.text == "" {
		n.text = string(r.Reason)
	}
	n.failed++
}

// echoes reports whether a tunnel gave echoes before the change.
func (g *gauges) echoes(name string) bool { return g.before(name).Echoes }

// before is how a tunnel was before the change; zero: it was not there.
func (g *gauges) before(name string) trial.Part {
	for _, p := range g.record().Tunnels {
		if p.Name == name {
			return p
		}
	}
	return trial.Part{}
}

// lives reports whether something has come from a hub since the change, or its
// session is one that the change left alone.
func (g *gauges) lives(n *needle, s checks.Spec, since time.Time) bool {
	hub := s.Target.StringOption("hub")
	st, err := LookAt(g.a.o.Tunnels)(s.Target.Network, hub)
	p, there := PeerOf(st, hub)
	return err == nil && there && (n.hears(p.Seen, since) || time.Since(p.LastHandshake) < rejectAfter)
}

// hears reports whether something has come from a peer since the change.
func (n *needle) hears(now tunnels.Seen, since time.Time) bool {
	if !n.known {
		n.seen, n.known = now, true
	}
	return now.LastHandshake.After(since) || now.Received > n.seen.Received
}

func (n *needle) part(name string, fails int) trial.Part {
	p := trial.Part{Name: name, Is: n.text}
	switch {
	case n.good:
		p.Now = trial.Good
	case n.failed >= fails:
		p.Now = trial.Dead
	}
	return p
}

// sites tells of a hub's sites, which call: one that has said nothing for half of
// the trial's time is dead. What they share is good while half of those that
// were good before are: a shared fault takes them all, and at a big hub a few
// have trouble of their own at any time.
func (g *gauges) sites(since time.Time, judged map[string]bool, r trial.Record) []trial.Part {
	g.mu.Lock()
	defer g.mu.Unlock()
	late := time.Since(since) > r.Limit/2
	var parts []trial.Part
	for _, st := range g.a.o.Tunnels.Status() {
		if st.Role != tunnels.Hub {
			continue
		}
		before, good := 0, 0
		for _, peer := range st.Peers {
			name := trial.PartName(st.Network, peer.Name)
			p := trial.Part{Name: name}
			switch {
			case peer.Present && g.needle(since, name).hears(peer.Seen, since):
				p.Now, p.Is = trial.Good, "it has called"
			case late:
				p.Now, p.Is = trial.Dead, "nothing has come from it"
			}
			if judged[name] {
				parts = append(parts, p)
			}
			if i := slices.IndexFunc(r.Tunnels, func(b trial.Part) bool { return b.Name == name && b.Wanted && b.Before == trial.Good }); i >= 0 {
				before++
				if p.Now == trial.Good {
					good++
				}
			}
		}
		all := trial.Part{Name: trial.PartName(st.Network, "")}
		switch {
		case 2*good >= before:
			all.Now = trial.Good
		case late:
			all.Now = trial.Dead
		}
		if judged[all.Name] {
			parts = append(parts, all)
		}
	}
	return parts
}
