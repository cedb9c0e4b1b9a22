package why

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// ErrNoNetwork says that a network is not in the config.
type ErrNoNetwork struct {
	Name string
	Has  []string
}

func (e *ErrNoNetwork) Error() string { return fmt.Sprintf("there is no network %q here", e.Name) }

// Hint names those that there are.
func (e *ErrNoNetwork) Hint() string {
	if len(e.Has) == 0 {
		return "no config runs here: ginnel status"
	}
	return "there is " + strings.Join(e.Has, ", ")
}

// Explain walks a network, or with an empty name the whole site.
func Explain(f Facts, network string) (*Report, error) {
	all := Judge(f)
	if network == "" {
		return f.explainSite(all), nil
	}
	var list []Tunnel
	names := []string{}
	for _, t := range f.Tunnels {
		if t.Network == network {
			list = append(list, t)
		}
		if !slices.Contains(names, t.Network) {
			names = append(names, t.Network)
		}
	}
	if len(list) == 0 {
		return nil, &ErrNoNetwork{network, names}
	}
	// The tunnel in use is the first; another is of interest when it is the
	// one that is broken.
	t := list[0]
	for _, other := range list {
		if all.Tunnels[TunnelName(t.Network, t.Hub)].Code == "" && all.Tunnels[TunnelName(other.Network, other.Hub)].Code != "" {
			t = other
		}
	}
	return f.explainTunnel(t, all, len(list) > 1), nil
}

func (f Facts) report(network string) *Report {
	return &Report{Gateway: f.Gateway, Site: f.Name, Version: f.Version, At: f.At, Network: network}
}

// evidence is the newest that is kept of a check or tunnel, which is what is broken;
// where there is none, or nothing is, the newest of the network or site.
func (f Facts) evidence(name, network string) (last *Evidence) {
	for _, e := range f.Evidence {
		switch {
		case e.Name == name:
			return &e
		case last == nil && (network == "" || e.Network == network):
			last = &e
		}
	}
	return last
}

func (f Facts) explainTunnel(t Tunnel, all Findings, several bool) *Report {
	r := f.report(t.Network)
	w := f.tunnel(t, all.Site)
	w.targets(t)
	r.Steps = w.steps
	r.State, r.Since = cmp.Or(t.State, checks.UnknownState), t.Since
	name := TunnelName(t.Network, t.Hub)
	subject, found := t.Network, w.broken
	if several {
		subject = name
	}
	for _, c := range f.Checks {
		if found.Broken() || c.Network != t.Network {
			continue
		}
		if found = all.Checks[c.Name]; found.Broken() {
			name, subject, r.State, r.Since = c.Name, c.Name, c.State, c.Since
		}
	}
	if found.Broken() && r.State == checks.Up {
		r.State = checks.DegradedState
	}
	said := found.Text
	if said == "" && r.State == checks.UnknownState {
		said = t.Said
	}
	r.Headline = Sentence(subject, r.State, r.Since, said, f.At)
	if !found.Broken() {
		name = ""
	}
	r.Evidence = f.evidence(name, t.Network)
	f.conclude(r, found, t, all)
	if !t.HubRole {
		r.Request = f.request(t)
	}
	return r
}

// explainSite lists the site outward from the cable, then each network, each
// service beside the tunnels, and the collector.
func (f Facts) explainSite(all Findings) *Report {
	r := f.report("")
	w := f.site()
	r.Steps = w.steps
	newest := f.newest()
	if i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == "config" && s.Result == Good }); i >= 0 && newest.Broken() {
		r.Steps[i] = f.newestStep(newest)
	}
	r.State, r.Since = f.worst()
	first, subject, at := all.Site, f.Gateway, Tunnel{}
	part := ""              // the check or tunnel that is blamed; empty: the site
	how := checks.State("") // of it
	note := func(found Finding, of, name string, state checks.State, since time.Time) {
		if !first.Broken() && found.Code != "" {
			first, part, subject, how, r.Since = found, of, name, state, since
			if state != "" && r.State == checks.Up {
				r.State = checks.DegradedState
			}
		}
	}
	for _, t := range f.Tunnels {
		of, name := TunnelName(t.Network, t.Hub), t.Network
		if f.tunnelsOf(t.Network) > 1 {
			name = of
		}
		found := all.Tunnels[of]
		r.Steps = append(r.Steps, f.tunnelStep(name, t, found))
		if !first.Broken() {
			at = t
		}
		note(found, of, name, t.State, t.Since)
	}
	for _, c := range f.Checks {
		s := c.step()
		found := all.Checks[c.Name]
		if found.WaitsFor != "" {
			s = Step{Name: c.Name, Result: NotTried, Text: "waits for " + waits(found.WaitsFor)}
		}
		r.Steps = append(r.Steps, s)
		note(found, c.Name, c.Name, c.State, c.Since)
	}
	s, lost := f.collector()
	if lost.Broken() && all.Site.Code.Layer() == "LINE" {
		s = Step{Name: s.Name, Result: NotTried, Text: "waits for the line"}
		lost = Finding{}
	}
	r.Steps = append(r.Steps, s)
	if first.Broken() && r.State == checks.Up {
		r.State = checks.DegradedState
	}
	if !first.Broken() { // what says nothing of the site's own state
		first = newest
		if !first.Broken() {
			first = lost
		}
	}
	r.Headline = Sentence(subject, cmp.Or(how, r.State), r.Since, first.Text, f.At)
	r.Evidence = f.evidence(part, "")
	f.conclude(r, first, at, all)
	return r
}

func (f Facts) tunnelsOf(network string) (n int) {
	for _, t := range f.Tunnels {
		if t.Network == network {
			n++
		}
	}
	return n
}

func (f Facts) tunnelStep(name string, t Tunnel, found Finding) Step {
	s := Step{Name: name, Result: Good, Text: string(cmp.Or(t.State, checks.UnknownState))}
	switch {
	case found.Code != "":
		s.Result, s.Code, s.Text = Failed, found.Code, found.Text
	case found.WaitsFor != "":
		s.Result, s.Text = NotTried, "waits for "+waits(found.WaitsFor)
	case t.State == checks.UnknownState || t.State == "":
		s.Result, s.Text = NotTried, "not known yet"
	case t.HubRole:
		s.Text = fmt.Sprintf("%d of %d sites called within three minutes", t.PeersUp, t.Peers)
	case t.RTT > 0:
		s.Text = fmt.Sprintf("%s answers in %s", t.Hub, millis(t.RTT))
	case t.State == checks.Up:
		s.Text = t.Hub + " answers"
	}
	return s
}

// waits puts an article before what is no name of a network.
func waits(what string) string {
	switch what {
	case "line", "clock", "resolver", "reload", "filter", "agent":
		return "the " + what
	}
	return what
}

// worst is the state of the parts together, and when the newest trouble began.
func (f Facts) worst() (checks.State, time.Time) {
	down, bad, unknown := 0, false, f.NotRunning
	var since time.Time
	for _, t := range f.Tunnels {
		switch t.State {
		case checks.Down:
			down++
		case checks.DegradedState:
			bad = true
		case checks.UnknownState, "":
			unknown = true
		}
		if t.Since.After(since) {
			since = t.Since
		}
	}
	for _, c := range f.Checks {
		bad = bad || c.State == checks.Down || c.State == checks.DegradedState
		unknown = unknown || c.State == checks.UnknownState
		if c.Since.After(since) {
			since = c.Since
		}
	}
	switch {
	case down > 0 && down == len(f.Tunnels):
		return checks.Down, since
	case down > 0, bad:
		return checks.DegradedState, since
	case unknown, len(f.Tunnels)+len(f.Checks) == 0:
		return checks.UnknownState, since
	}
	return checks.Up, since
}

// conclude says what follows from what was found.
func (f Facts) conclude(r *Report, found Finding, t Tunnel, all Findings) {
	if found.Hint != "" {
		r.Hints = append(r.Hints, found.Hint)
	}
	if !found.Broken() {
		r.Say = f.say(r)
		return
	}
	if found.WaitsFor != "" {
		r.WaitsFor = found.WaitsFor
		if all.Site.Broken() { // the cause is worth the call, not the effect
			found.Code, found.Object = all.Site.Code, all.Site.Object
		}
	}
	r.Code, r.Owner = found.Code, found.Owner()
	layer := r.Code.Layer()
	if layer == "HUB" || layer == "PROBE" || layer == "NAME" {
		r.NotTheLine = f.beyond(t.Hub)
	}
	r.CannotTell = cannotTell(found, t)
	r.Means = f.means(found, t, all)
	r.Who = strings.ReplaceAll(Meaning(r.Code).Who, "%s", cmp.Or(found.Object, "it"))
	r.Say = f.say(r)
}

func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// Sentence says what is how, since when and why, in the zone of now.
func Sentence(name string, s checks.State, since time.Time, reason string, now time.Time) string {
	text := fmt.Sprintf("%s is %s", name, s)
	if !since.IsZero() {
		text += " since " + clockOf(since, now)
	}
	if reason == "" && s == checks.UnknownState {
		reason = "not measured often enough yet"
	}
	if reason == "" {
		return text + "."
	}
	return text + ": " + strings.TrimSuffix(reason, ".") + "."
}
