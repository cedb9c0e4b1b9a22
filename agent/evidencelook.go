package agent

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Times of a look around.
const (
	lookMost  = 45 * time.Second // all of it
	lookAfter = 12 * time.Second // at least so much of what comes after the change
	lookPath  = 20 * time.Second
	lookMTU   = 10 * time.Second
	lookDNS   = 2 * time.Second // each resolver
)

// look adds to a change what can be seen in the seconds after it. What could not
// be looked at is named.
func (k *evidenceKeeper) look(ctx context.Context, f *frozen) {
	begun := f.bundle.Change.Noticed
	within, cancel := context.WithDeadline(ctx, begun.Add(lookMost))
	defer cancel()
	b := &f.bundle
	host, port := placeOf(f.spec.Target.Address)
	name := host
	if t := b.Tunnels; f.spec.Kind == TunnelKindName && len(t) > 0 { // it is reached beside itself
		for _, one := range t {
			if tunnelName(one.Network, one.Hub) == f.spec.Name {
				host, port = placeOf(one.Endpoint)
				name = cmp.Or(k.agent.endpointName(one.Network, one.Hub), host)
			}
		}
	}
	b.DNS = lookUp(within, name)
	m := mannersOf(k.agent.manners(), f.spec, host)
	skip := func(format string, args ...any) { b.NotLooked = append(b.NotLooked, fmt.Sprintf(format, args...)) }
	if m.Path != "" {
		skip("path: %s", m.Path)
	} else if b.Path = k.probe(within, f.spec, "path", net.JoinHostPort(host, port), nil, lookPath); b.Path == nil {
		skip("path: this gateway has no such kind of checks, or not for this target")
	}
	if m.MTU != "" {
		skip("packet size: %s", m.MTU)
	} else if b.MTU = k.probe(within, f.spec, "mtu", host, map[string]any{"by": "icmp"}, lookMTU); b.MTU == nil {
		skip("packet size: this gateway has no such kind of checks, or not for this target")
	}
	pause(within, time.Until(begun.Add(lookAfter)))
	if ctx.Err() != nil {
		skip("the agent was stopped meanwhile")
	}
	b.Packets = joined(b.Packets, k.flight.Of(f.spec.Name, b.Change.At).Packets)
	later := k.agent.linkEvidence(f.spec.Target.Network)
	for i, l := range b.Links {
		if j := slices.IndexFunc(later, func(n evidence.Link) bool { return n.Name == l.Name }); j >= 0 {
			b.Links[i].Later = later[j].Then
		}
	}
}

// joined is what was frozen and what came since.
func joined(frozen, now []evidence.Packet) []evidence.Packet {
	if len(frozen) == 0 {
		return now
	}
	last := frozen[len(frozen)-1].At
	i := slices.IndexFunc(now, func(p evidence.Packet) bool { return p.At > last })
	if i < 0 {
		return frozen
	}
	return append(slices.Clip(frozen), now[i:]...)
}

// manners say why a target is not probed for evidence; empty: it is.
type manners struct{ Path, MTU string }

// mannersOf keeps what the targets of others may be asked: none of what speaks
// MLLP, none of a national service, which was connected to just now, and nobody by a
// kind that is switched off.
func mannersOf(of checks.Manners, s checks.Spec, host string) (m manners) {
	switch {
	case host == "":
		m.Path, m.MTU = "the target is no host", "the target is no host"
	case of.Forbids(checks.Spec{Target: s.Target}) != "" || s.Kind == "mllp":
		m.Path, m.MTU = "not to a listener of HL7", "not to a listener of HL7"
	case of.IsNational(host) != "":
		m.Path, m.MTU = "not to a national service", "not to a national service"
	}
	for _, o := range of.Off {
		switch o.Kind {
		case "path":
			m.Path = "switched off: " + o.Reason
		case "mtu":
			m.MTU = "switched off: " + o.Reason
		}
	}
	return m
}

// pathPort is asked where a target has no port of its own.
const pathPort = "443"

// placeOf takes the host and port out of a target: "host:port", a URL, or a host.
func placeOf(target string) (host, port string) {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		port = u.Port()
		if port == "" && u.Scheme == "http" {
			port = "80"
		}
		host = u.Hostname()
	} else if h, p, err := net.SplitHostPort(target); err == nil {
		host, port = h, p
	} else {
		host = strings.Trim(target, "[]")
	}
	if port == "" {
		port = pathPort
	}
	return host, port
}

// probe runs a check of another kind once, the same way as the one that broke; a
// tunnel's goes beside the tunnels. Nil: it cannot be made.
func (k *evidenceKeeper) probe(ctx context.Context, s checks.Spec, kind, target string, options map[string]any, most time.Duration) *evidence.Look {
	one := checks.Spec{Name: s.Name, Kind: kind, Interval: time.Hour,
		Target: checks.Target{Check: s.Name, Address: target, Network: s.Target.Network, Source: s.Target.Source, Timeout: most, Options: options, OneShot: true}}
	if s.Kind == TunnelKindName {
		one.Target.Network, one.Target.Source = "", nil
	}
	check, err := k.agent.Kinds().Make(one)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return evidence.LookOf(kind, target, guarded(ctx, check))
}

// guarded turns a panic of a check into a fault of our own.
func guarded(ctx context.Context, c checks.Check) (r checks.Result) {
	defer func() {
		if p := recover(); p != nil {
			r = checks.Result{Verdict: checks.Unknown, Reason: checks.SelfFault, Detail: fmt.Sprintf("the check panicked: %v", p), Start: time.Now()}
		}
	}()
	return c.Run(ctx)
}

// endpointName is the first name by which the config has a hub; empty: it has
// addresses only.
func (a *Agent) endpointName(network, hub string) string {
	a.mu.Lock()
	c := a.config
	a.mu.Unlock()
	if c == nil {
		return ""
	}
	for _, n := range c.Networks {
		for _, h := range n.Hubs {
			for _, e := range h.Endpoints {
				host, _ := placeOf(e)
				if _, err := netip.ParseAddr(host); n.Name == network && h.Name == hub && err != nil {
					return host
				}
			}
		}
	}
	return ""
}

// lookUp asks each resolver of this host for a name.
func lookUp(ctx context.Context, host string) *evidence.DNS {
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return &evidence.DNS{Answers: []evidence.Answer{}}
	}
	d := &evidence.DNS{Name: host, Answers: []evidence.Answer{}}
	for _, to := range resolvers("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf") {
		d.Answers = append(d.Answers, askOne(ctx, to, host))
	}
	return d
}

func askOne(ctx context.Context, resolver netip.Addr, host string) evidence.Answer {
	ctx, cancel := context.WithTimeout(ctx, lookDNS)
	defer cancel()
	a := evidence.Answer{Resolver: resolver.String()}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(resolver, 53).String())
	}}
	began := time.Now()
	found, err := r.LookupNetIP(ctx, "ip", host)
	a.Took = time.Since(began).Seconds()
	if err != nil {
		a.Error = evidence.Line(err.Error())
	}
	for _, one := range found {
		a.Addresses = append(a.Addresses, one.Unmap().String())
	}
	return a
}

// manners are those of the config that runs.
func (a *Agent) manners() checks.Manners {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return checks.Manners{}
	}
	return a.config.Manners
}

// tunnelEvidence tells of the tunnels of a network.
func (a *Agent) tunnelEvidence(network string) (list []evidence.Tunnel) {
	if network == "" {
		return nil
	}
	states := map[string]checks.State{}
	a.mu.Lock()
	runner := a.runner
	a.mu.Unlock()
	for _, t := range a.o.Tunnels.Status() {
		if t.Network != network {
			continue
		}
		name := tunnelName(t.Network, t.Hub)
		if runner != nil {
			states[name], _ = runner.State(name)
		}
		one := evidence.Tunnel{Network: t.Network, Hub: t.Hub, Device: t.Device, State: states[name]}
		if t.Role == tunnels.Hub {
			for _, p := range t.Peers {
				one.Sent, one.Received = one.Sent+p.Sent, one.Received+p.Received
			}
		} else if p, ok := PeerOf(t, t.Hub); ok {
			one.Sent, one.Received = p.Sent, p.Received
			if p.Endpoint.IsValid() {
				one.Endpoint = p.Endpoint.String()
			}
			if !p.LastHandshake.IsZero() {
				one.HandshakeAge = new(time.Since(p.LastHandshake).Seconds())
			}
		}
		list = append(list, one)
	}
	return list
}

// linkEvidence has the counters of this host's links: of its tunnels those of a
// network, for the others are nobody's business who may see this one.
func (a *Agent) linkEvidence(network string) []evidence.Link {
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return nil // another system, which has none
	}
	ours := map[string]string{}
	for _, t := range a.o.Tunnels.Status() {
		ours[t.Device] = t.Network
	}
	return slices.DeleteFunc(linkCounters(string(text)), func(l evidence.Link) bool {
		of, tunnel := ours[l.Name]
		return l.Name == "lo" || tunnel && of != network || !tunnel && strings.HasPrefix(l.Name, tunnels.DevicePrefix)
	})
}

// linksMost bounds how many links are told of.
const linksMost = 16

// linkCounters reads proc_net(5)'s dev: two lines of titles, then a link a line.
func linkCounters(text string) (list []evidence.Link) {
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan() && len(list) < linksMost; {
		name, rest, ok := strings.Cut(s.Text(), ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 12 {
			continue
		}
		n := make([]uint64, 12)
		for i := range n {
			n[i], _ = strconv.ParseUint(f[i], 10, 64) // the kernel's own numbers
		}
		list = append(list, evidence.Link{Name: strings.TrimSpace(name), Then: evidence.Counters{
			RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3], TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11]}})
	}
	return list
}
