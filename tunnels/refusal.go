package tunnels

// Refusal counts what one rule of a Filter has dropped or rejected.
type Refusal struct {
	Rule           string // one of the Refused… below
	Packets, Bytes uint64
}

// What a Filter refuses. These words are in the host's rules, in `ginnel
// status` and in the block: they do not change.
const (
	RefusedAstray       = "astray"
	RefusedSpoofed      = "spoofed"
	RefusedOtherNetwork = "other-network"
	RefusedNotListed    = "not-listed"
	RefusedIntoLAN      = "into-lan"
	RefusedIntoSites    = "into-sites"
	RefusedSiteToSite   = "site-to-site"
	RefusedIntoGateway  = "into-gateway"
	RefusedPort         = "wg-port"
	RefusedForward      = "forward"
)

// refusalTexts are all of them, with a sentence for each.
var refusalTexts = map[string]string{
	RefusedAstray:       "its way led out of the network: to the line, or to where nothing of it is",
	RefusedSpoofed:      "it wanted into the network from a link or a source that is not the network's",
	RefusedOtherNetwork: "it went from one network towards another",
	RefusedNotListed:    "a site opened a connection that no [[network.allow]] from \"sites\" lists",
	RefusedIntoLAN:      "the network opened a connection into this site's LAN that no [[network.allow]] lists",
	RefusedIntoSites:    "the hub's side opened a connection to a site that no [[network.allow]] lists",
	RefusedSiteToSite:   "a site opened a connection to another that no [[network.allow]] lists",
	RefusedIntoGateway:  "the network wanted to reach this gateway itself",
	RefusedPort:         "WireGuard's port was tried on a link that is no uplink",
	RefusedForward:      "it was to be forwarded beside the networks, on a host that forwards for them only",
}

// RefusalText says in a sentence what a rule refuses; empty for one that is
// not of this version.
func RefusalText(rule string) string { return refusalTexts[rule] }
