package config

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// asking is the udp checks of a gateway that ask one hub.
type asking struct {
	names []string
	last  int     // of them
	run   float64 // packets of a run of each
	rate  float64 // packets a second
}

// echoed names the udp checks that together ask a hub for more than it answers one
// gateway: what is missing would be told as a loss of the line.
func (a across) echoed() {
	hubs := map[string]asking{}
	for i, k := range a.c.Checks {
		if hub, ok := k.echoes(); ok {
			at := hubs[hub]
			hubs[hub] = asking{append(at.names, k.Name), i, at.run + k.packets(), at.rate + k.packets()/k.Interval.Seconds()}
		}
	}
	for hub, at := range hubs {
		if at.rate <= checks.EchoRate {
			continue
		}
		enough := time.Duration(math.Ceil(at.run/checks.EchoRate)) * time.Second
		a.r.checks[at.last].problem("interval", fmt.Sprintf("interval = %q for each, a smaller count, or fewer checks", tell(enough)),
			"%s ask %s for %.0f packets a second together; a hub answers a gateway %d", strings.Join(at.names, ", "), hub, at.rate, checks.EchoRate)
	}
}

// echoes says which hub a check asks for test packets; false: none.
func (k Check) echoes() (hub string, ok bool) {
	if k.Kind != "udp" || k.Network == "" {
		return "", false
	}
	host, port, err := net.SplitHostPort(k.Target)
	if err != nil {
		return strings.Trim(k.Target, "[]"), true
	}
	return host, port == strconv.Itoa(checks.EchoPort)
}

// packets are those of a run.
func (k Check) packets() float64 {
	if n, ok := k.Options["count"].(int64); ok {
		return float64(n)
	}
	return checks.EchoCount
}
