package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// site walks what all networks of a site need, outward from the cable.
func (f Facts) site() *walk {
	w := &walk{Facts: f}
	if f.WAN.NotRead == "" {
		w.take("cable", f.WAN.cable)
		w.take("address", f.WAN.address)
		w.take("route", f.WAN.route)
		w.take("router", f.router)
	}
	w.take("line", f.line)
	w.take("agent", f.agent)
	w.take("config", f.config)
	if len(f.Tunnels) > 0 {
		w.take("resolver", f.resolver)
	}
	w.take("clock", f.clock)
	if len(f.Tunnels) > 0 {
		w.take("filter", f.forwards)
	}
	return w
}

func (n WAN) cable() (string, Finding) {
	var names, bad []string
	for _, l := range n.Links {
		switch {
		case !l.There:
			bad = append(bad, l.Name+" is gone")
		case !l.Up:
			bad = append(bad, l.Name+" is switched off")
		case !l.Carrier:
			bad = append(bad, l.Name+" has no carrier")
		default:
			names = append(names, l.Name)
		}
	}
	if len(names) == 0 && len(bad) > 0 {
		return "", Finding{Code: NoCarrier, Object: n.names(), Text: strings.Join(bad, ", ")}
	}
	if len(names) == 0 {
		return "which port leads to the WAN is not known", Finding{}
	}
	return strings.Join(names, ", "), Finding{}
}

func (n WAN) names() string {
	var all []string
	for _, l := range n.Links {
		all = append(all, l.Name)
	}
	return strings.Join(all, ", ")
}

func (n WAN) address() (string, Finding) {
	var words []string
	for _, l := range n.Links {
		for _, a := range l.Addresses {
			words = append(words, fmt.Sprintf("%s on %s", a, l.Name))
		}
	}
	switch {
	case len(n.Links) == 0:
		return "not known", Finding{}
	case len(words) == 0:
		return "", Finding{Code: NoAddress, Object: n.names(), Text: n.names() + " has no address"}
	}
	return strings.Join(words[:min(2, len(words))], ", "), Finding{}
}

func (n WAN) route() (string, Finding) {
	if len(n.Gateways) == 0 {
		return "", Finding{Code: NoRoute, Object: n.names(), Text: "there is no default route"}
	}
	var words []string
	for _, g := range n.Gateways {
		to := "dev " + g.Link
		if g.Address.IsValid() {
			to = fmt.Sprintf("via %s dev %s", g.Address, g.Link)
		}
		words = append(words, to)
	}
	return "default " + strings.Join(words[:min(2, len(words))], ", "), Finding{}
}

func (f Facts) router() (string, Finding) {
	silent := 0
	for _, g := range f.WAN.Gateways {
		if g.Answers == No {
			silent++
		}
	}
	seen := f.beyond("")
	if n := len(f.WAN.Gateways); n > 0 && silent == n && seen == "" {
		g := f.WAN.Gateways[0]
		return "", Finding{Code: RouterSilent, Object: g.Link, Text: fmt.Sprintf("the router %s on %s does not answer", g.Address, g.Link)}
	}
	if silent < len(f.WAN.Gateways) && slices.ContainsFunc(f.WAN.Gateways, func(g Gateway) bool { return g.Answers == Yes }) {
		return "answers", Finding{}
	}
	if seen != "" {
		return "lets through: " + seen, Finding{}
	}
	return "not known: nothing was asked of it lately", Finding{}
}

// line says whether anything at all is reached. It takes two witnesses of
// different sorts to blame it: hubs alone may be dead in one place.
func (f Facts) line() (string, Finding) {
	if seen := f.beyond(""); seen != "" {
		return seen, Finding{}
	}
	hubs, others := f.silent()
	if len(hubs)+len(others) >= 2 && len(others) > 0 {
		return "", Finding{Code: LineDead, Object: f.WAN.names(),
			Text: "nothing answers over the line: not " + strings.Join(slices.Concat(others, hubs), ", not ")}
	}
	return "not known: nothing else is asked over it", Finding{}
}

// beyond tells of something that is reached over the line now, other than a
// hub; empty: nothing is.
func (f Facts) beyond(but string) string {
	fault := f.lastFault()
	for _, t := range f.Tunnels {
		if t.HubRole || t.Hub == but || t.State != checks.Up || f.At.Sub(t.LastHandshake) > rejectAfter || t.Doubtful || stale(t.Heard, fault) {
			continue
		}
		if t.RTT > 0 {
			return fmt.Sprintf("%s answers over the same line in %s", t.Hub, millis(t.RTT))
		}
		return fmt.Sprintf("%s answers over the same line", t.Hub)
	}
	for _, c := range f.Checks {
		if c.Network == "" && (c.State == checks.Up || c.State == checks.DegradedState) && !c.Doubtful && !stale(c.Heard, fault) {
			text := fmt.Sprintf("%s (%s) answers beside the tunnels", c.Name, c.Target)
			if c.RTT > 0 {
				text += " in " + millis(c.RTT)
			}
			return text
		}
	}
	if c := f.Collector; c.Name != "" && c.Error == "" && c.LastReceipt.After(fault) && f.At.Sub(c.LastReceipt) < 2*time.Minute {
		return fmt.Sprintf("%s answered %s ago", c.Name, span(f.At.Sub(c.LastReceipt)))
	}
	return ""
}

// stale says of something that is up that it was not heard since a fault began.
func stale(heard, fault time.Time) bool { return !heard.IsZero() && heard.Before(fault) }

// lastFault is when the newest trouble began: what was heard before it proves
// nothing.
func (f Facts) lastFault() (at time.Time) {
	for _, t := range f.Tunnels {
		if t.State == checks.Down && t.Since.After(at) {
			at = t.Since
		}
	}
	for _, c := range f.Checks {
		if c.State == checks.Down && c.Since.After(at) {
			at = c.Since
		}
	}
	return at
}

// silent names the hubs, and what else, that should be reached over the line
// and are not.
func (f Facts) silent() (hubs, others []string) {
	for _, t := range f.Tunnels {
		if !t.HubRole && t.State == checks.Down && t.There && !slices.Contains(hubs, t.Hub) {
			hubs = append(hubs, t.Hub)
		}
	}
	for _, c := range f.Checks {
		if c.Network == "" && c.State == checks.Down && (c.Reason == checks.Timeout || c.Reason == checks.Unreachable) {
			others = append(others, c.Name)
		}
	}
	if f.Collector.Kind == "unreachable" {
		others = append(others, "the collector")
	}
	return hubs, others
}

func (f Facts) agent() (string, Finding) {
	h := f.Host
	switch {
	case f.NotRunning:
		return "", Finding{Code: NotRunning, Object: "agent", Text: "the agent does not run", Hint: "systemctl start ginnel"}
	case h.NoRights:
		return "", Finding{Code: NoRights, Object: "host", Text: h.Fault}
	case h.NoFilters:
		return "", Finding{Code: NoFilters, Object: "host", Text: h.Fault}
	case h.Fault != "":
		return "", Finding{Code: HostFault, Object: "host", Text: h.Fault}
	case !f.Down.IsZero():
		return "", Finding{Code: TakenDown, Object: "tunnels", Text: "the tunnels were taken down by hand; ginnel reload brings them up", Hint: "ginnel reload"}
	}
	return "runs", Finding{}
}

func (f Facts) config() (string, Finding) {
	if !f.Config.There {
		return "", Finding{Code: NoConfig, Object: "config", Text: "there is no config"}
	}
	return f.Config.Text, Finding{}
}

// newest is what is wrong with the newest config: it has a mistake in it, or did
// not stay, or nobody can tell. Nothing hangs on that: a good one runs.
func (f Facts) newest() Finding {
	found := Finding{Step: "config", Object: "config"}
	switch {
	case f.Config.Damaged != "":
		found.Code, found.Text = Damaged, f.Config.Damaged
	case f.Config.Fault != "":
		found.Code, found.Text = ConfigRefused, "the newest config is refused: "+f.Config.Fault
	case f.Config.Newest == "":
		return Finding{}
	case f.Config.Held:
		found.Code, found.Text = ConfigHeld, f.Config.Newest
	default:
		found.Code, found.Text = ConfigFailed, f.Config.Newest
	}
	return found
}

// newestStep is the step of such a config.
func (f Facts) newestStep(found Finding) Step {
	s := Step{Name: "config", Result: Failed, Code: found.Code, Text: f.Config.Text + "; " + found.Text}
	switch found.Code {
	case ConfigRefused:
		s.Text = strings.TrimPrefix(found.Text, "the newest config is ") + "; the one before goes on"
	case Damaged:
		s.Text = "nothing new is taken: " + found.Text
	case ConfigHeld:
		s.Result, s.Text = NotTried, found.Text
	}
	return s
}

func (f Facts) forwards() (string, Finding) {
	if d := f.Host.Drops; d.By != "" {
		return "", Finding{Code: ForeignDrop, Object: d.By, Text: d.By + " drops what is forwarded", Hint: d.Type}
	}
	return "nobody else's drops what we forward", Finding{}
}

// resolver is to blame when it answers no name, and a hub is lost by that.
func (f Facts) resolver() (string, Finding) {
	asked, answered, lost := 0, 0, 0
	last := ""
	for _, t := range f.Tunnels {
		known := t.Endpoint.IsValid()
		for _, n := range t.Names {
			known = known || len(n.Addresses) > 0
			if n.Asked.IsZero() {
				continue
			}
			asked++
			if n.Err == "" {
				answered++
			} else {
				last = n.Err
			}
		}
		if !known && len(t.Names) > 0 {
			lost++
		}
	}
	for _, c := range f.Checks {
		if c.Network == "" && c.Reason == checks.NotResolved && c.State == checks.Down {
			asked++
		}
	}
	switch {
	case asked == 0:
		return "no hub is called by a name", Finding{}
	case answered > 0:
		return "answers", Finding{}
	case lost > 0 && asked > 1:
		return "", Finding{Code: ResolverSilent, Object: "resolver", Text: "the resolver answers no name: " + last}
	}
	return "does not answer; the last good answers are used", Finding{}
}

const (
	mayLag  = 2 * time.Minute // behind what was seen, and still no trouble
	mayMiss = time.Minute     // against the collector
)

// clock blames what WireGuard minds: a hub refuses a handshake that is older
// than one that it has seen. What the collector says now counts more than what
// was seen earlier, which may have been a clock that ran ahead.
func (f Facts) clock() (string, Finding) {
	c := f.Clock
	compared := c.Fine > 0
	switch off := c.Off.Abs(); {
	case compared && off > mayMiss+c.Fine:
		way := "ahead of"
		if c.Off < 0 {
			way = "behind"
		}
		return "", Finding{Code: ClockOff, Object: "clock", Text: fmt.Sprintf("the clock is %s %s the collector's", span(off), way)}
	case !compared && c.Floor.Sub(f.At) > mayLag:
		return "", Finding{Code: ClockBehind, Object: "clock",
			Text: fmt.Sprintf("the clock is %s behind %s, which has been", span(c.Floor.Sub(f.At)), c.Floor.Local().Format("2 Jan 15:04"))}
	}
	return c.String(), Finding{}
}

// String says how well the clock goes, and no more than is known.
func (c Clock) String() string {
	switch {
	case c.Synced && c.Within > 0 && c.Within < time.Second:
		return fmt.Sprintf("%.0f ms off at most", max(1, c.Within.Seconds()*1e3))
	case c.Synced && c.Fine == 0:
		return "kept in time"
	case c.Fine > 0 && c.Off.Abs() <= c.Fine:
		return fmt.Sprintf("agrees with the collector's within %s", span(max(time.Second, c.Fine)))
	case c.Fine > 0:
		return fmt.Sprintf("about %s off", span(max(time.Second, c.Off.Abs())))
	}
	return "not compared with any other"
}
