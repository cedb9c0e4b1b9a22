package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// TunnelKindName is the kind of the checks that nobody writes into a config: one
// for each tunnel, named "network/hub". Its slash keeps the name apart from
// those in a config.
const TunnelKindName = "tunnel"

// tunnelTimeout is how long an echo through a tunnel may take.
const tunnelTimeout = 3 * time.Second

// tunnelName names the tunnel of a network to a hub, or of a hub to its sites.
func tunnelName(network, hub string) string {
	if hub == "" {
		return network
	}
	return network + "/" + hub
}

// checksOf are the checks of a config and one for each of its tunnels.
func checksOf(c *config.Config) []checks.Spec {
	var specs []checks.Spec
	for _, n := range c.Networks {
		if n.Role == tunnels.Hub {
			specs = append(specs, tunnelSpec(n, "", nil))
			continue
		}
		for _, h := range n.Hubs {
			specs = append(specs, tunnelSpec(n, h.Name, h.AllowedIPs))
		}
	}
	return append(specs, c.CheckSpecs()...)
}

// tunnelSpec probes the first single address that a hub accepts: its own.
func tunnelSpec(n config.Network, hub string, accepted []netip.Prefix) checks.Spec {
	target := checks.Target{
		Check: tunnelName(n.Name, hub), Network: n.Name, Timeout: min(tunnelTimeout, n.Probe),
		Options: map[string]any{"hub": hub, "count": int64(1)},
	}
	for _, p := range n.Address {
		target.Source = append(target.Source, p.Addr())
	}
	if own, ok := tunnels.OwnAddress(accepted); ok {
		target.Address = own.Addr().String()
	}
	return checks.Spec{
		Name: target.Check, Kind: TunnelKindName, Target: target,
		Interval: n.Probe,
		Own:      true,
		Unstable: 100, // its state steers traffic: one that works again is used
	}
}

// Tunnel tells how one tunnel stands.
type Tunnel func(network, hub string) (tunnels.Status, error)

// TunnelKind makes the checks of tunnels from what the manager tells, from what
// is known to be broken on this host, and from probes through them; probe is the
// icmp kind.
func TunnelKind(look Tunnel, faults *Faults, probe checks.Kind) checks.Kind {
	return checks.Kind{
		Name: TunnelKindName,
		Doc:  "whether a tunnel works: its device, its handshake, and an echo from the hub's own address through it",
		Schema: checks.Schema{
			"hub":   {Type: "string", Doc: "the hub that it leads to; empty in the hub role"},
			"count": probe.Schema["count"],
		},
		New: func(t checks.Target) (checks.Check, error) {
			hub, _ := t.Options["hub"].(string)
			c := &tunnelCheck{look: look, faults: faults, network: t.Network, hub: hub}
			if t.Address == "" {
				return c, nil
			}
			echo := t
			echo.Options = map[string]any{}
			if count, given := t.Options["count"]; given {
				echo.Options["count"] = count
			}
			var err error
			c.echo, err = probe.Make(echo) // with the defaults of the rest
			return c, err
		},
	}
}

// tunnelCheck is the check of one tunnel.
type tunnelCheck struct {
	look         Tunnel
	faults       *Faults
	echo         checks.Check // nil: nothing to probe
	network, hub string
	before       tunnels.Status
	answered     bool      // the hub has answered an echo, so it is one that does
	heard        time.Time // when more had come from the hub than at the run before
}

// Run is what the tunnel itself says; one that answers while the LAN's traffic
// does not get into it is not well.
func (c *tunnelCheck) Run(ctx context.Context) checks.Result {
	r := c.run(ctx)
	if fault := c.faults.of(c.network, c.hub); fault != "" && r.Verdict == checks.OK {
		r.Verdict, r.Reason, r.Phase, r.Detail = checks.Degraded, checks.Unreachable, checks.PhaseRoute, fault
	}
	return r
}

func (c *tunnelCheck) run(ctx context.Context) checks.Result {
	start := time.Now()
	st, err := c.look(c.network, c.hub)
	before := c.before
	c.before = st
	switch {
	case err != nil:
		return checks.Result{Verdict: checks.Unknown, Reason: checks.NotRun, Start: start, Detail: err.Error()}
	case !st.Present:
		detail := "device " + st.Device + " is not there"
		if st.Err != "" {
			detail = st.Err
		}
		return checks.Result{Verdict: checks.Failed, Reason: checks.Unreachable, Phase: checks.PhaseRoute, Start: start, Detail: detail}
	case c.hub == "":
		return hubItself(st, start)
	case c.echo != nil:
		r := c.echo.Run(ctx)
		if r.Verdict != checks.Failed {
			c.answered = c.answered || r.Received > 0
			return r
		}
		if p, ok := PeerOf(st, c.hub); !ok || !p.Endpoint.IsValid() {
			return c.explain(st, r)
		}
		if h := c.byHandshake(st, before, start); !c.answered && h.Verdict == checks.OK {
			return c.mute(st, before, h)
		}
		return c.explain(st, r)
	}
	return c.byHandshake(st, before, start)
}

// quiet is how long nothing may come from a hub that lives: it answers what it
// gets within ten seconds, be it by an empty packet (KEEPALIVE_TIMEOUT, section
// 6.1 of WireGuard's paper).
const quiet = 30 * time.Second

// mute judges a hub that has never answered an echo, though its session is young.
// It may be one that answers none, and is no dead hub for that; or it has died
// since, before this agent began: so something else must come from it.
func (c *tunnelCheck) mute(st, before tunnels.Status, ok checks.Result) checks.Result {
	now, _ := PeerOf(st, c.hub)
	if was, known := PeerOf(before, c.hub); known && now.Received > was.Received {
		c.heard = ok.Start
	}
	if ok.Start.Sub(c.heard) < quiet {
		return ok
	}
	return checks.Result{Verdict: checks.Unknown, Reason: checks.Timeout, Phase: checks.PhaseResponse, Start: ok.Start,
		Detail: c.hub + " answers no echo, and nothing else has come from it"}
}

// hubItself judges the tunnel of a hub: there is nothing to probe, but a device
// that could not be made as wanted, say because its port is taken, serves nobody
// new; it is down when it serves nobody at all.
func hubItself(st tunnels.Status, start time.Time) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: start}
	if st.Err == "" {
		return r
	}
	r.Verdict, r.Reason, r.Phase, r.Detail = checks.Failed, checks.Unreachable, checks.PhaseRoute, st.Err
	for _, p := range st.Peers {
		if p.Present && time.Since(p.LastHandshake) < rejectAfter {
			r.Verdict = checks.Degraded
		}
	}
	return r
}

// explain says of an unanswered echo what of the tunnel is missing.
func (c *tunnelCheck) explain(st tunnels.Status, r checks.Result) checks.Result {
	p, ok := PeerOf(st, c.hub)
	switch {
	case !ok:
		r.Reason, r.Phase, r.Detail = checks.NoHandshake, checks.PhaseRoute, fmt.Sprintf("peer %s is not on %s", c.hub, st.Device)
	case !p.Endpoint.IsValid():
		r.Reason, r.Phase, r.Detail = checks.NotResolved, checks.PhaseResolve, fmt.Sprintf("the name of %s has no address", c.hub)
	case time.Since(p.LastHandshake) > rejectAfter:
		r.Reason, r.Phase, r.Detail = checks.NoHandshake, checks.PhaseConnect, c.hub+" does not answer"
	default:
		r.Detail = c.hub + " does not answer"
	}
	return r
}

// rejectAfter is when WireGuard gives a session up (REJECT_AFTER_TIME, section
// 6.1 of its paper).
const rejectAfter = 180 * time.Second

// byHandshake judges a tunnel that there is nothing to probe in: it is down only
// when packets go out, none come back, and the session is too old to carry any.
func (c *tunnelCheck) byHandshake(st, before tunnels.Status, start time.Time) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: start}
	now, ok := PeerOf(st, c.hub)
	if !ok {
		r.Verdict, r.Reason, r.Phase = checks.Failed, checks.NoHandshake, checks.PhaseRoute
		r.Detail = fmt.Sprintf("peer %s is not on %s", c.hub, st.Device)
		return r
	}
	was, _ := PeerOf(before, c.hub)
	if time.Since(now.LastHandshake) < rejectAfter {
		return r
	}
	if now.Sent > was.Sent && now.Received == was.Received {
		r.Verdict, r.Reason, r.Phase, r.Detail = checks.Failed, checks.NoHandshake, checks.PhaseConnect, c.hub+" does not answer"
	}
	return r
}

// PeerOf finds a hub among the peers that a device has.
func PeerOf(st tunnels.Status, hub string) (tunnels.PeerStatus, bool) {
	for _, p := range st.Peers {
		if p.Name == hub && p.Present {
			return p, true
		}
	}
	return tunnels.PeerStatus{}, false
}

// ErrNoTunnel says that a network or hub is not in the config.
var ErrNoTunnel = errors.New("no such tunnel")

// LookAt is a Tunnel that asks a manager.
func LookAt(m *tunnels.Manager) Tunnel {
	return func(network, hub string) (tunnels.Status, error) {
		for _, s := range m.Status() {
			if s.Network == network && s.Hub == hub {
				return s, nil
			}
		}
		return tunnels.Status{}, fmt.Errorf("%s: %w", tunnelName(network, hub), ErrNoTunnel)
	}
}
