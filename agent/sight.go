package agent

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Sight is what an agent can see of its host besides its tunnels. What it has
// no function for is not known.
type Sight struct {
	// WAN tells of the site's own line.
	WAN func() why.WAN
	// Host tells what of the host a config could collide with.
	Host func(ctx context.Context) block.HostSnapshot
	// Way tells where the kernel would send a packet; ingress is the link
	// that it comes in by, or empty.
	Way func(from netip.Prefix, to netip.Addr, ingress string) why.Lookup
	// Drops tells of somebody else's firewall.
	Drops func(ctx context.Context) why.Drop
	// Foreign says what has a device's name and is not ours.
	Foreign func(ctx context.Context, device string, own key.Public) string
	// Fault sorts an error of the host.
	Fault func(err error) why.Host
	// NoFilters says whether the kernel lacks what keeps networks apart.
	NoFilters func() bool
	// Kept says whether something keeps this host's clock, and how well.
	Kept func() (synced bool, within time.Duration)
}

// Faults tells the checks of tunnels what is broken on this host where echoes
// pass all the same: a rule that sends the LAN's traffic elsewhere, say. Its
// zero value knows of nothing.
type Faults struct {
	mu   sync.Mutex
	said map[string]string
}

func (f *Faults) of(network, hub string) string {
	if f == nil {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said[tunnelName(network, hub)]
}

// set takes, of what was found, the steps on this host.
func (f *Faults) set(found map[string]why.Finding) {
	if f == nil {
		return
	}
	said := map[string]string{}
	for name, one := range found {
		switch one.Step {
		case "device", "address", "rule", "route", "filter":
			if one.Code != "" {
				said[name] = one.Text
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = said
}
