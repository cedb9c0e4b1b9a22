package agent

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/tunnels"
)

// A hub calls too, and WireGuard answers to where it was called from. So a tunnel
// that was given a wrong endpoint comes to life again by the old one, until either
// end is started anew: that it answers proves nothing of the new endpoint.

// left are the addresses at which hubs are called, by tunnel, of those whose
// endpoints are others in the next config.
func left(former, next tunnels.Spec, at map[string]netip.AddrPort) map[string]netip.AddrPort {
	was, is := endpointsOf(former), endpointsOf(next)
	all := map[string]netip.AddrPort{}
	for name, a := range at {
		if e, kept := is[name]; kept && !slices.Equal(was[name], e) {
			all[name] = a
		}
	}
	return all
}

// stayed says how a tunnel is that answers, and does it from where its hub was
// called before the change.
func stayed(at netip.AddrPort, endpoints []string, names []tunnels.KnownName) (now trial.State, text string) {
	unknown := ""
	for _, e := range endpoints {
		n := nameFacts(e, names)
		if n.Port == at.Port() && slices.Contains(n.Addresses, at.Addr()) {
			return trial.Good, "answers"
		}
		if len(n.Addresses) == 0 {
			unknown = n.Name
		}
	}
	if unknown != "" {
		return trial.Unsure, fmt.Sprintf("answers from %v, where it was called before; %s has no address", at, unknown)
	}
	return trial.Dead, fmt.Sprintf("answers only from %v, where it was called before: that is none of its endpoints", at)
}

// endpointsOf are the endpoints of hubs, by tunnel.
func endpointsOf(s tunnels.Spec) map[string][]string {
	all := map[string][]string{}
	for _, n := range s.Networks {
		for _, d := range n.Devices {
			for _, p := range d.Peers {
				if p.Name == d.Hub {
					all[trial.PartName(n.Name, d.Hub)] = p.Endpoints
				}
			}
		}
	}
	return all
}

// calledAt is where hubs are called now, by tunnel.
func calledAt(list []tunnels.Status) map[string]netip.AddrPort {
	all := map[string]netip.AddrPort{}
	for _, st := range list {
		if p, ok := PeerOf(st, st.Hub); ok && p.Endpoint.IsValid() {
			all[trial.PartName(st.Network, st.Hub)] = netip.AddrPortFrom(p.Endpoint.Addr().Unmap(), p.Endpoint.Port())
		}
	}
	return all
}
