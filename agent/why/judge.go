package why

import (
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// Judge finds the first broken step of the site, of each tunnel and of each
// check. What is broken only because something else is, waits for that.
func Judge(f Facts) Findings {
	all := Findings{Site: f.site().broken, Tunnels: map[string]Finding{}, Checks: map[string]Finding{}}
	down := map[string]bool{} // networks whose tunnel in use is down
	for _, t := range f.Tunnels {
		found := f.tunnel(t, all.Site).broken
		if found.Broken() {
			all.Tunnels[TunnelName(t.Network, t.Hub)] = found
		}
		if _, first := down[t.Network]; !first {
			down[t.Network] = found.Broken() && t.State == checks.Down
		}
	}
	for _, c := range f.Checks {
		if found := c.finding(all.Site, down[c.Network]); found.Broken() {
			all.Checks[c.Name] = found
		}
	}
	return all
}

// finding says what is wrong with a service; down: the tunnel to it.
func (c Check) finding(site Finding, down bool) Finding {
	f := Finding{Step: c.Name, Object: c.Target, Text: strings.ReplaceAll(string(c.Reason), "_", " ")}
	if c.Detail != "" {
		f.Text = c.Detail
	}
	switch {
	case c.Network != "" && (down || c.WaitsFor != ""):
		return Finding{Step: c.Name, WaitsFor: c.Network}
	case c.Reason == checks.NotRun && c.State == checks.UnknownState && c.Detail != "":
		f.Code = NoSuchCheck
		return f
	case c.State != checks.Down && c.State != checks.DegradedState:
		return Finding{}
	case c.Network == "" && site.Code.Layer() == "LINE":
		return Finding{Step: c.Name, WaitsFor: "line"}
	case c.Reason == checks.NotResolved && site.Code == ResolverSilent:
		return Finding{Step: c.Name, WaitsFor: "resolver"}
	}
	f.Code = codeOf(c.Reason)
	return f
}

// codeOf is the code of a check's reason.
func codeOf(r checks.Reason) Code {
	switch r {
	case checks.Refused:
		return TargetRefuses
	case checks.NotResolved:
		return TargetNoName
	case checks.Certificate, checks.Protocol, checks.Assertion:
		return TargetWrong
	case checks.Slow, checks.Loss:
		return TargetPoor
	}
	return TargetSilent
}

// step tells of a service whose tunnel is well.
func (c Check) step() Step {
	s := Step{Name: c.Name, Result: Good, Text: c.Target}
	found := c.finding(Finding{}, false)
	switch {
	case found.Code != "":
		s.Result, s.Code = Failed, found.Code
		s.Text = found.Text
		if !strings.Contains(s.Text, c.Target) {
			s.Text = fmt.Sprintf("%s: %s", c.Target, s.Text)
		}
	case c.State == checks.UnknownState || c.State == "":
		s.Result, s.Text = NotTried, c.Target+": not known yet"
	case c.State == checks.MaintenanceMode:
		s.Text = c.Target + ": in maintenance"
	case c.RTT > 0:
		s.Text = fmt.Sprintf("%s answers in %s", c.Target, millis(c.RTT))
	}
	return s
}

// collector tells of the way to the centre; nothing of the site hangs on it.
func (f Facts) collector() (Step, Finding) {
	c := f.Collector
	s := Step{Name: "collector", Result: Good}
	switch {
	case c.Name == "":
		s.Result, s.Text = NotTried, "not enrolled"
		return s, Finding{}
	case c.Error == "":
		s.Text = c.Name + ", no receipt yet"
		if !c.LastReceipt.IsZero() {
			s.Text = fmt.Sprintf("%s, last receipt %s ago", c.Name, span(f.At.Sub(c.LastReceipt)))
		}
		return s, Finding{}
	}
	found := Finding{Code: CollectorCode(c.Kind), Step: s.Name, Object: c.Name, Text: c.Error}
	s.Result, s.Text, s.Code = Failed, c.Error, found.Code
	return s, found
}

// CollectorCode is the code of a kind of trouble with the collector, in the
// uplink's words.
func CollectorCode(kind string) Code {
	switch kind {
	case "proxy", "foreign", "page":
		return CollectorCovered
	case "refused":
		return CollectorRefuses
	}
	return CollectorSilent
}
