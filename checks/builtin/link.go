package builtin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// Link is the kind that looks at a link of this host: it reads what the kernel
// says of it, and what a DHCP client has written down. It sends and writes
// nothing, and needs no right.
func Link() checks.Kind {
	return checks.Kind{
		Name: "link",
		Doc:  "looks at a network link of this host, by its name, or at that of the default route; sends nothing",
		Schema: checks.Schema{
			"address": {Type: "string", Doc: "the address that it must have, besides those that every link makes itself", Default: "any", Enum: []string{"any", "ipv4", "ipv6", "both", "none"}},
			"speed":   {Type: "int", Doc: "degraded below so many Mbit/s; 0: whatever it is", Default: 0, Min: new(0.0), Max: new(1e6)},
			"duplex":  {Type: "bool", Doc: "degraded when it sends and receives in turns (half duplex)", Default: true},
			"errors":  {Type: "int", Doc: "degraded when more of 10000 packets since the last look were damaged, ten at least", Default: 10, Min: new(0.0), Max: new(10000.0)},
			"drops":   {Type: "int", Doc: "degraded when more of 10000 packets since the last look were dropped, ten at least", Default: 1000, Min: new(0.0), Max: new(10000.0)},
			"flaps":   {Type: "int", Doc: "degraded when it lost its carrier so often since the last look; 0: never", Default: 1, Min: new(0.0), Max: new(1000.0)},
		},
		New: newLink,
	}
}

// linkNameMost is the longest name of a link (IFNAMSIZ less the closing zero).
const linkNameMost = 15

type linkCheck struct {
	name                 string // empty: that of the default route
	address              string
	speed                int // Mbit/s
	duplex               bool
	errors, drops, flaps int
	leases               leases
	before               linkState // of the run before; its at is zero: none
}

func newLink(t checks.Target) (checks.Check, error) {
	if t.Network != "" {
		return nil, errors.New("a link check looks at a link of this host: leave the network out")
	}
	if len(t.Address) > linkNameMost || strings.ContainsAny(t.Address, " /:\x00") {
		return nil, fmt.Errorf("target %q is not the name of a link: at most %d characters without space, slash or colon", t.Address, linkNameMost)
	}
	return &linkCheck{name: t.Address, address: t.StringOption("address"), speed: t.IntOption("speed"), duplex: t.BoolOption("duplex"),
		errors: t.IntOption("errors"), drops: t.IntOption("drops"), flaps: t.IntOption("flaps"), leases: leases{root: "/"}}, nil
}

func (c *linkCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now()}
	if ctx.Err() != nil {
		r.Verdict, r.Reason, r.Detail = checks.Unknown, checks.NotRun, "broken off"
		return r
	}
	s, err := readLink(c.name)
	if err != nil {
		f := reach.FaultOf(ctx, checks.PhaseRoute, "looking at the link", err)
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
		return r
	}
	s.lease = c.leases.of(s)
	if s.index != c.before.index || s.packets < c.before.packets { // another one under that name
		c.before = linkState{}
	}
	if f := c.judge(s); f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	r.Path = s.name
	s.tell(&r, c.before)
	c.before = s
	return r
}

// judge says what is wrong with a link; nil: nothing.
func (c *linkCheck) judge(s linkState) *reach.Fault {
	d := s.since(c.before)
	if f := s.works(); f != nil {
		return f
	}
	if want := c.lacks(s); want != "" {
		return reach.Fail(checks.Unreachable, checks.PhaseConnect, "%s has no %s", s.name, want)
	}
	poor := func(reason checks.Reason, format string, args ...any) *reach.Fault {
		f := reach.Fail(reason, checks.PhaseConnect, format, args...)
		f.Verdict = checks.Degraded
		return f
	}
	switch {
	case c.flaps > 0 && d.flaps >= c.flaps:
		return poor(checks.Loss, "%s lost its carrier %d times since the last look", s.name, d.flaps)
	case tooMany(d.errors, d.packets, c.errors):
		return poor(checks.Loss, "%s: %d of %d packets were damaged since the last look", s.name, d.errors, d.packets+d.errors)
	case tooMany(d.drops, d.packets, c.drops):
		return poor(checks.Loss, "%s: %d of %d packets were dropped since the last look", s.name, d.drops, d.packets+d.drops)
	case c.duplex && s.duplex == "half":
		return poor(checks.Assertion, "%s works in half duplex", s.name)
	case s.speed > 0 && s.speed < c.speed:
		return poor(checks.Assertion, "%s works at %d Mbit/s, less than %d", s.name, s.speed, c.speed)
	case s.lease.overdue():
		return poor(checks.Assertion, "%s: the DHCP server has not renewed the lease of %v; %v of %v are left", s.name, s.lease.address,
			s.lease.left.Round(time.Second), s.lease.length)
	}
	return nil
}

// works says why a link carries nothing; nil: it does.
func (s linkState) works() *reach.Fault {
	switch {
	case !s.up:
		return reach.Fail(checks.Unreachable, checks.PhaseConnect, "%s is switched off", s.name)
	case s.state == "dormant":
		return reach.Fail(checks.Unreachable, checks.PhaseConnect, "%s waits to be let in (as 802.1X does)", s.name)
	case !s.carrier:
		return reach.Fail(checks.Unreachable, checks.PhaseConnect, "%s has no carrier: no cable, or nothing alive at its other end", s.name)
	}
	return nil
}

// lacks is what address a link should have and has not; empty: none.
func (c *linkCheck) lacks(s linkState) string {
	var four, six bool
	for _, a := range s.addresses {
		four, six = four || a.Is4(), six || a.Is6()
	}
	switch {
	case c.address == "any" && !four && !six:
		return "address"
	case !four && (c.address == "ipv4" || c.address == "both"):
		return "IPv4 address"
	case !six && (c.address == "ipv6" || c.address == "both"):
		return "IPv6 address"
	}
	return ""
}

// tooMany: ten at least, and more of 10,000 than most.
func tooMany(bad, good uint64, most int) bool {
	return bad >= 10 && bad*10000 > (bad+good)*uint64(most)
}

// tell adds the steps and figures of a look.
func (s linkState) tell(r *checks.Result, before linkState) {
	d := s.since(before)
	var addresses []string
	for _, a := range s.addresses {
		addresses = append(addresses, a.String())
	}
	speed := "speed not told"
	if s.speed > 0 {
		speed = fmt.Sprintf("%d Mbit/s, %s duplex", s.speed, s.duplex)
	}
	r.Steps = append(r.Steps,
		checks.Step{Phase: checks.PhaseConnect, Name: "link " + s.name, Detail: fmt.Sprintf("%s, %s, MTU %d", s.state, speed, s.mtu)},
		checks.Step{Phase: checks.PhaseConnect, Name: "addresses", Detail: strings.Join(addresses, ", ")},
		checks.Step{Phase: checks.PhaseConnect, Name: "since the last look", Detail: fmt.Sprintf("%d packets, %d damaged, %d dropped, carrier lost %d times", d.packets, d.errors, d.drops, d.flaps)},
	)
	value := func(name string, n float64, unit string) {
		r.Values = append(r.Values, checks.Value{Name: name, Number: n, Unit: unit})
	}
	value("mtu", float64(s.mtu), "By")
	value("errors", float64(d.errors), "1")
	value("drops", float64(d.drops), "1")
	value("flaps", float64(d.flaps), "1")
	if s.speed > 0 {
		value("speed", float64(s.speed)*1e6, "bit/s")
	}
	if l := s.lease; l.address.IsValid() {
		r.Steps = append(r.Steps, checks.Step{Phase: checks.PhaseConnect, Name: "DHCP lease", Detail: l.String()})
		value("lease_left", l.left.Seconds(), "s")
		if l.length > 0 {
			value("lease_age", (l.length - l.left).Seconds(), "s")
		}
	}
}
