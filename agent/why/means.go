package why

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// cannotTell is what one gateway cannot know from where it stands.
func cannotTell(found Finding, t Tunnel) string {
	at := cmp.Or(t.Hub, found.Object)
	switch found.Code {
	case HubSilent:
		return fmt.Sprintf("whether %s is off or UDP %d to it is blocked", at, t.Endpoint.Port())
	case HubNever:
		return fmt.Sprintf("whether %s is off, UDP %d to it is blocked, or it does not know this gateway's key", at, t.Endpoint.Port())
	case ProbeSilent:
		return fmt.Sprintf("whether %s drops what comes out of the tunnel, or lacks the way back", at)
	case ProbePoor:
		return fmt.Sprintf("whether this line or that of %s loses them", at)
	case NoCarrier:
		return "whether the cable is out or what it leads to is off"
	case RouterSilent:
		return "whether the router is off or the cable leads elsewhere"
	case LineDead:
		return "whether the router or the supplier's network is at fault"
	case TargetSilent:
		return "whether it is off, or something at its end drops what comes for it"
	case CollectorSilent:
		return "whether it is off, or TCP to it is blocked"
	case HubNoName:
		return "whether the name was removed, or the resolver hides it"
	}
	return ""
}

// means says what cannot be used now, and what can.
func (f Facts) means(found Finding, t Tunnel, all Findings) string {
	var lost, well []string
	seen := map[string]bool{}
	for _, o := range f.Tunnels {
		if seen[o.Network] {
			continue
		}
		seen[o.Network] = true
		if o.State == checks.Up && all.Tunnels[TunnelName(o.Network, o.Hub)].Code == "" {
			if f.anyUp(o.Network) {
				well = append(well, f.withServices(o.Network, func(s checks.State) bool { return s == checks.Up }))
			}
		} else if o.State == checks.Down {
			lost = append(lost, f.withServices(o.Network, func(checks.State) bool { return true }))
		}
	}
	beside := 0
	for _, c := range f.Checks {
		if c.Network == "" && c.State == checks.Up {
			beside++
		}
	}
	if beside > 0 {
		well = append(well, "what is beside the tunnels")
	}
	if found.Code == ForeignDrop { // what is up was measured from here; nobody's packets pass
		well = nil
	}
	var parts []string
	if len(lost) > 0 {
		parts = append(parts, fmt.Sprintf("services in %s cannot be reached from this site", and(lost)))
	} else if e := Meaning(found.Code); e.Means != "" {
		parts = append(parts, strings.TrimSuffix(lower(e.Means), "."))
	}
	if len(well) > 0 {
		are := "are"
		if len(well) == 1 {
			are = "is"
		}
		parts = append(parts, fmt.Sprintf("%s %s not affected", and(well), are))
	}
	return strings.Join(parts, "; ")
}

// anyUp reports whether a check of a network is up, or it has none.
func (f Facts) anyUp(network string) bool {
	none := true
	for _, c := range f.Checks {
		if c.Network == network {
			if none = false; c.State == checks.Up {
				return true
			}
		}
	}
	return none
}

// withServices is a network with the names of its checks of some states, a few
// of them.
func (f Facts) withServices(network string, of func(checks.State) bool) string {
	var names []string
	for _, c := range f.Checks {
		if c.Network == network && of(c.State) {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return network
	}
	if len(names) > 3 {
		names = append(names[:2:2], fmt.Sprintf("%d more", len(names)-2))
	}
	return network + " (" + strings.Join(names, ", ") + ")"
}

func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
