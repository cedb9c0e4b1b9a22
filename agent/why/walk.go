package why

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// rejectAfter is when WireGuard gives a session up (REJECT_AFTER_TIME, section
// 6.1 of its paper).
const rejectAfter = 180 * time.Second

// walk takes steps until one is broken; the others are then not tried.
type walk struct {
	Facts
	steps  []Step
	broken Finding
}

// take looks at one thing, unless something before it is broken.
func (w *walk) take(name string, look func() (string, Finding)) {
	if w.broken.Broken() {
		w.steps = append(w.steps, w.notTried(name))
		return
	}
	text, found := look()
	s := Step{Name: name, Result: Good, Text: text}
	switch {
	case found.Broken():
		found.Step = name
		w.broken = found
		s.Result, s.Text, s.Code = Failed, found.Text, found.Code
		if text != "" {
			s.Text = text
		}
	case text == "":
		s.Result, s.Text = NotTried, "not known yet"
	}
	w.steps = append(w.steps, s)
}

// notTried is a step behind a broken one: it needs the one before it.
func (w *walk) notTried(name string) Step {
	return Step{Name: name, Result: NotTried, Text: "not tried: needs the " + w.steps[len(w.steps)-1].Name}
}

// tunnel walks one tunnel, from its device to the far end. site is what is
// broken at the site as a whole.
func (f Facts) tunnel(t Tunnel, site Finding) *walk {
	w := &walk{Facts: f}
	switch {
	case f.NotRunning:
		w.take("agent", func() (string, Finding) { return "does not run; what follows is as it was left", Finding{} })
	case site.Code == TakenDown:
		w.take("agent", func() (string, Finding) {
			return "the tunnels were taken down by hand", Finding{WaitsFor: "reload", Text: site.Text}
		})
	case site.Step == "agent" && t.State != checks.Up:
		w.take("agent", func() (string, Finding) { return "", Finding{WaitsFor: "agent", Object: site.Object, Text: site.Text} })
	}
	w.take("device", t.device)
	w.take("address", t.address)
	w.take("rule", t.rule)
	w.take("route", t.route)
	w.take("filter", func() (string, Finding) { return t.filter(site) })
	if t.HubRole {
		w.take("clock", f.clock)
		w.take("sites", t.sites)
		return w
	}
	if site.Code.Layer() == "LINE" && t.State != checks.Up {
		w.take("line", func() (string, Finding) { return "", Finding{WaitsFor: "line", Text: site.Text, Object: site.Object} })
	}
	w.take("name", func() (string, Finding) { return t.name(site) })
	w.take("clock", func() (string, Finding) {
		text, found := f.clock()
		if t.State == checks.Up {
			return text, Finding{}
		}
		if found.Broken() && site.Code == found.Code {
			return text, Finding{WaitsFor: "clock", Text: found.Text, Object: found.Object}
		}
		return text, found
	})
	w.take("handshake", func() (string, Finding) { return t.handshake(f.At) })
	w.take("probe", t.probe)
	return w
}

// targets are the services behind a network: steps beside one another.
func (w *walk) targets(t Tunnel) {
	way := w.steps
	for _, c := range w.Checks {
		if c.Network != t.Network {
			continue
		}
		s := c.step()
		if w.broken.Broken() {
			s = Step{Name: c.Name, Result: NotTried, Text: "not tried: needs the " + way[len(way)-1].Name}
		}
		w.steps = append(w.steps, s)
	}
}

func (t Tunnel) device() (string, Finding) {
	object := t.Device
	switch {
	case t.TakenBy != "":
		return "", Finding{Code: DeviceTaken, Object: object, Text: fmt.Sprintf("the name %s is taken: %s", t.Device, t.TakenBy), Hint: t.Hint}
	case t.unmet("port") != "":
		code := DeviceOther
		if strings.Contains(t.Err, "taken") || strings.Contains(t.Err, "in use") {
			code = PortTaken
		}
		return "", Finding{Code: code, Object: object, Text: t.failed("port"), Hint: t.Hint}
	}
	if c, ok := t.contested("device", "mtu", "key", "peer"); ok {
		return "", c.finding()
	}
	switch {
	case !t.There:
		text := t.Device + " is not there"
		if t.Err != "" {
			text = t.Err
		}
		return "", Finding{Code: NoDevice, Object: object, Text: text, Hint: t.Hint}
	case t.unmet("device", "mtu", "key") != "":
		return "", Finding{Code: DeviceOther, Object: object, Text: t.failed("device", "mtu", "key"), Hint: t.Hint}
	case !t.Up:
		return "", Finding{Code: DeviceOther, Object: object, Text: t.Device + " is switched off"}
	}
	if l, ok := t.lack("device", "peer", "address"); ok {
		return "", Finding{Code: DeviceOther, Object: object, Text: l.Text, Hint: l.Hint}
	}
	if !t.HubRole && !t.Key {
		return "", Finding{Code: DeviceOther, Object: object, Text: fmt.Sprintf("%s is not among the peers of %s", t.Hub, t.Device), Hint: t.Hint}
	}
	return fmt.Sprintf("%s up, MTU %d", t.Device, t.MTU), Finding{}
}

// lack is the first thing of some parts that cannot be had here.
func (t Tunnel) lack(parts ...string) (Lack, bool) {
	i := slices.IndexFunc(t.Lacks, func(l Lack) bool { return slices.Contains(parts, l.Part) })
	if i < 0 {
		return Lack{}, false
	}
	return t.Lacks[i], true
}

func (t Tunnel) address() (string, Finding) {
	if c, ok := t.contested("address"); ok {
		return "", c.finding()
	}
	if t.unmet("address") != "" {
		return "", Finding{Code: NoOverlay, Object: t.Device, Text: t.failed("address"), Hint: t.Hint}
	}
	if l, ok := t.lack("lan"); ok {
		return "", Finding{Code: NoLAN, Object: t.Network, Text: l.Text, Hint: l.Hint}
	}
	var words []string
	for _, a := range t.Addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, ", "), Finding{}
}

func (t Tunnel) rule() (string, Finding) {
	if c, ok := t.contested("rule"); ok {
		return "", c.finding()
	}
	if t.unmet("rule") != "" {
		return "", Finding{Code: NoRule, Object: t.Network, Text: t.failed("rule"), Hint: t.Hint}
	}
	for _, l := range t.Lookups {
		if l.Err != "" || l.Table == 0 || l.Table == t.Table {
			continue
		}
		found := Finding{Code: RuleForeign, Object: t.Network, Text: fmt.Sprintf("what %s sends to %s goes to %s, by the rule %s", l.What, l.To, orNowhere(l.Device), l.Rule)}
		if l.Rule == "" {
			found.Code = NoRule
			found.Text = fmt.Sprintf("what %s sends to %s goes to %s: no rule leads it into table %d", l.What, l.To, orNowhere(l.Device), t.Table)
		}
		return "", found
	}
	return t.Rule, Finding{}
}

func orNowhere(device string) string {
	if device == "" {
		return "nowhere"
	}
	return device
}

func (t Tunnel) route() (string, Finding) {
	if c, ok := t.contested("route"); ok {
		return "", c.finding()
	}
	if t.unmet("route") != "" {
		return "", Finding{Code: NoWay, Object: t.Network, Text: t.failed("route"), Hint: t.Hint}
	}
	for _, l := range t.Lookups {
		switch {
		case l.Err != "" || l.Refused && t.Refusing || l.Device == t.Device:
		case l.Refused:
			return "", Finding{Code: NoWay, Object: t.Network, Text: fmt.Sprintf("what %s sends to %s is refused: no route leads to %s", l.What, l.To, t.Device)}
		default:
			return "", Finding{Code: RouteForeign, Object: t.Network, Text: fmt.Sprintf("what %s sends to %s goes to %s, by a route of somebody else in table %d",
				l.What, l.To, orNowhere(l.Device), t.Table)}
		}
	}
	if t.Refusing && t.Route != "" {
		return t.Route + "; refused meanwhile", Finding{}
	}
	return t.Route, Finding{}
}

func (t Tunnel) filter(site Finding) (string, Finding) {
	if c, ok := t.contested("filter", "setting"); ok {
		return "", c.finding()
	}
	if t.unmet("filter", "setting") != "" {
		return "", Finding{Code: FilterOther, Object: t.Network, Text: t.failed("filter", "setting"), Hint: t.Hint}
	}
	if site.Code == ForeignDrop && t.State != checks.Down { // one that is down has another cause
		return "", Finding{WaitsFor: "filter", Object: site.Object, Text: site.Text, Hint: site.Hint}
	}
	return "as planned", Finding{}
}

func (t Tunnel) name(site Finding) (string, Finding) {
	for _, n := range t.Names {
		if len(n.Addresses) == 0 && n.Name != "" && !t.Endpoint.IsValid() {
			continue
		}
		if n.Asked.IsZero() && n.Err == "" && len(n.Addresses) == 1 && n.Addresses[0].String() == n.Name {
			return n.Name + ", an address", Finding{}
		}
		if len(n.Addresses) == 0 {
			continue
		}
		text := fmt.Sprintf("%s is %s", n.Name, n.Addresses[0])
		switch {
		case n.Err != "":
			text += " (the last good answer)"
		case !n.Asked.IsZero():
			text += fmt.Sprintf(" (asked %s)", n.Asked.Local().Format("15:04"))
		}
		return text, Finding{}
	}
	if t.Endpoint.IsValid() {
		return t.Endpoint.Addr().String(), Finding{}
	}
	if len(t.Names) == 0 {
		return "", Finding{Code: HubNoName, Object: t.Hub, Text: "the config names no address of " + t.Hub}
	}
	n := t.Names[0]
	if site.Code == ResolverSilent {
		return "", Finding{WaitsFor: "resolver", Text: site.Text}
	}
	text := n.Name + " has no address"
	if n.Err != "" {
		text = fmt.Sprintf("%s has no address: %s", n.Name, strings.TrimSpace(n.Err[strings.LastIndex(n.Err, ": ")+1:]))
	}
	return "", Finding{Code: HubNoName, Object: n.Name, Text: text}
}

func (t Tunnel) handshake(now time.Time) (string, Finding) {
	age := now.Sub(t.LastHandshake)
	switch {
	case t.LastHandshake.IsZero() && t.State != checks.Down:
		return "", Finding{}
	case t.State != checks.Down, t.repliesSince(t.Since), age < rejectAfter && t.State == "":
		return fmt.Sprintf("%s ago, with %s", span(age), t.Endpoint), Finding{}
	}
	found := Finding{Code: HubSilent, Object: t.Hub, Text: t.Hub + " does not answer"}
	if t.LastHandshake.IsZero() {
		found.Code, found.Text = HubNever, t.Hub+" has never answered"
	}
	return t.sentSince(), found
}

// settled is how long counters may lag behind a change of state: they are read
// every five seconds, and again by whoever gathers.
const settled = 11 * time.Second

// repliesSince says whether something has come from the hub well after a time.
func (t Tunnel) repliesSince(at time.Time) bool {
	at = at.Add(settled)
	return t.Received > 0 && t.Quiet.After(at) || t.LastHandshake.After(at)
}

// initiation is the length of a first handshake message, in bytes. A hub that
// is silent is sent nothing else once the session has ended.
const initiation = 148

func (t Tunnel) sentSince() string {
	what := fmt.Sprintf("%d bytes", t.Sent)
	if t.Sent%initiation == 0 {
		what = fmt.Sprint(t.Sent / initiation)
	}
	text := fmt.Sprintf("%s sent to %s", what, t.Endpoint)
	if !t.Quiet.IsZero() {
		text += " since " + t.Quiet.Local().Format("15:04")
	}
	return text + ", 0 answered"
}

func (t Tunnel) probe() (string, Finding) {
	switch {
	case t.State == checks.Down:
		return "", Finding{Code: ProbeSilent, Object: t.Hub, Text: "nothing comes back through the tunnel from " + t.Hub}
	case t.State == checks.DegradedState:
		text := t.Said
		if text == "" {
			text = "packets to " + t.Hub + " are lost or late"
		}
		return "", Finding{Code: ProbePoor, Object: t.Hub, Text: text}
	case t.State != checks.Up:
		return "", Finding{}
	case !t.Probed:
		return "none: the config names no single address behind " + t.Hub, Finding{}
	case t.RTT > 0:
		return "answered in " + millis(t.RTT), Finding{}
	}
	return "answered", Finding{}
}

func (t Tunnel) sites() (string, Finding) {
	if t.State == checks.Down || t.State == checks.DegradedState {
		text := t.Said
		if text == "" {
			text = "no site is served"
		}
		return "", Finding{Code: DeviceOther, Object: t.Device, Text: text, Hint: t.Hint}
	}
	return fmt.Sprintf("%d of %d called within three minutes", t.PeersUp, t.Peers), Finding{}
}

// unmet is the text of the first step of these kinds that is still to be taken.
func (t Tunnel) unmet(kinds ...string) string {
	for _, u := range t.Unmet {
		if slices.Contains(kinds, u.Kind) {
			return u.Text
		}
	}
	return ""
}

// failed is why that step is still to be taken.
func (t Tunnel) failed(kinds ...string) string {
	text := t.unmet(kinds...)
	if t.Err != "" && strings.Contains(t.Err, text) {
		return t.Err
	}
	return "missing, or not as planned: " + text
}

func (t Tunnel) contested(kinds ...string) (Contest, bool) {
	for _, c := range t.Contested {
		if slices.Contains(kinds, c.Kind) {
			return c, true
		}
	}
	return Contest{}, false
}

func (c Contest) finding() Finding {
	object := c.Kind + " " + c.Text
	return Finding{Code: ContestedObj, Object: object,
		Text: fmt.Sprintf("%s is changed again and again by %s", object, cmp.Or(c.Culprit, "another program"))}
}

// span is a length of time in its largest whole unit that matters.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", max(0, d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1e3) }
