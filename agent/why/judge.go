package why

import (
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// Judge finds the first broken step of the site, of each tunnel and of each
// check. What is broken only because something else is, waits for that.
func Judge(f Facts) Findings {
	all := Findings{Site: f.site().broken, Beyond: f.beyond(""), Tunnels: map[string]Finding{}, Checks: map[string]Finding{}}
	inUse := map[string]Tunnel{} // by network
	for _, t := range f.Tunnels {
		found := f.tunnel(t, all.Site).broken
		if found.Broken() {
			all.Tunnels[TunnelName(t.Network, t.Hub)] = found
		}
		if _, there := inUse[t.Network]; !there {
			inUse[t.Network] = t
		}
	}
	for _, c := range f.Checks {
		t, through := inUse[c.Network]
		broken := all.Tunnels[TunnelName(t.Network, t.Hub)].Broken()
		if found := c.finding(all.Site, through && t.lost(c, broken)); found.Broken() {
			all.Checks[c.Name] = found
		}
	}
	return all
}

// lost says whether a service is out of reach with its tunnel: that is down; or
// it is silent while the tunnel is broken, or while nothing has come through it.
func (t Tunnel) lost(c Check, broken bool) bool {
	silent := c.State == checks.Down && (c.Reason == checks.Timeout || c.Reason == checks.Unreachable)
	return t.State == checks.Down || silent && (broken || t.Doubtful || t.Probed && stale(t.Heard, c.Since))
}

// finding says what is wrong with a service; lost: it is, with its tunnel.
func (c Check) finding(site Finding, lost bool) Finding {
	f := Finding{Step: c.Name, Object: c.Target, Text: strings.ReplaceAll(string(c.Reason), "_", " ")}
	if c.Detail != "" {
		f.Text = c.Detail
	}
	switch {
	case c.Network != "" && (lost || c.WaitsFor != ""):
		return Finding{Step: c.Name, WaitsFor: c.Network}
	case c.Reason == checks.NotRun && c.State == checks.UnknownState && c.Detail != "":
		f.Code = CodeOfNotRun(c.Detail)
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

// CodeOfNotRun is the code of a check that cannot be run here, by its detail.
func CodeOfNotRun(detail string) Code {
	if strings.HasPrefix(detail, checks.QuarantinePrefix) {
		return Quarantined
	}
	return NoSuchCheck
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
