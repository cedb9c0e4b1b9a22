package tunnels

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// State is a set of host objects: those wanted, or those of ours that are
// there. The order of its lists means nothing.
type State struct {
	Devices  []Device
	Routes   []Route
	Rules    []Rule
	Filters  []Filter
	Settings []Setting
}

// Device is a WireGuard link with all that belongs to it.
type Device struct {
	Network    string // empty in what was observed
	Name       string
	Found      string // observed only: what somebody has renamed it to; empty: it has its name
	Untagged   bool   // observed only: ours, but the kernel does not say so
	Backend    string // "kernel" or "userspace"; empty in what is wanted: any
	Up         bool
	MTU        int
	Addresses  []netip.Prefix
	PrivateKey key.Private // wanted only; compared by PublicKey
	PublicKey  key.Public  // zero: no key is set
	ListenPort int         // wanted 0: any
	Peers      []Peer
}

// Peer is one peer of a Device.
type Peer struct {
	Name         string // empty in what was observed
	PublicKey    key.Public
	PresharedKey key.Preshared    // observed where the device tells it; else zero
	Endpoint     netip.AddrPort   // zero: unknown, or the peer calls us
	Alternatives []netip.AddrPort // wanted only: as good as Endpoint, left alone where found
	AllowedIPs   []netip.Prefix
	Keepalive    time.Duration
	Seen         Seen // observed only; never compared
}

// Seen is what a device says of the traffic with one peer.
type Seen struct {
	LastHandshake    time.Time // zero: none yet
	Received, Sent   int64     // bytes
	HandshakesFailed int64     // -1 where the back end does not tell
}

// Route is a route in a network's table. No two have the same table, prefix and
// metric; a Change step replaces the one that has them in one write.
type Route struct {
	Network     string // empty in what was observed
	Table       int
	Prefix      netip.Prefix
	Device      string // empty when Unreachable
	Unreachable bool   // refuses; stands behind the real one at a worse metric
	Metric      int
	Source      netip.Addr // preferred source; zero: none
}

// Rule is a policy rule that leads into a network's table.
type Rule struct {
	Network  string // empty in what was observed
	Family   int    // 4 or 6
	Priority int
	Iif, Oif string
	From     netip.Prefix // zero: any
	Table    int
}

// Filter is a network's nftables table as a value. Two equal Filters make the
// same table; Digest is how an observed one is compared. In and out are meant
// from our side of the tunnels: In comes out of one to our LAN.
type Filter struct {
	Network string
	Table   string // "ginnel_kestrel"
	Role    Role
	Devices []string       // of this network
	MTU     int            // the smallest of the devices'; 0: segments are left as they are
	Ingress []string       // links of our side: to and from these only
	LAN     []netip.Prefix // behind them, as they are there; none: any may enter, nothing is there to be reached
	Own     []netip.Prefix // our addresses inside the tunnels
	Shared  []netip.Prefix // those of them that another link has as well, and that may leave by it
	Far     []netip.Prefix // at a site, what is behind its hubs: it comes out of the tunnels only
	Maps    []Map          // what of LAN the network knows by another prefix

	// Connections that may be opened. Replies pass always, what is not
	// listed never.
	AnyIn, AnyOut bool      // whatever there is may be opened, listed or not
	In, Out       []Opening // into our LAN, and out of it
	Across        []Opening // out of a tunnel into a tunnel
	Gateway       []Opening // to our own addresses

	Uplinks []string // the only links on which Ports may be reached
	Ports   []int    // UDP ports of this network's devices
	Only    []string // links that forward IPv4 because of us: between them and gn- links only
	Only6   bool     // the host forwards IPv6 because of us: to or from gn- links only
	Digest  string   // of the fields above; see Filter.Sum

	Refused []Refusal // observed only, by rule; never compared
}

// Opening lets connections be opened. Its addresses are those that a packet has
// at the gateway. Lists that are empty mean any.
type Opening struct {
	From, To []netip.Prefix
	Ports    []string // as in Allow
}

// Setting is a sysctl, as a path below /proc/sys with slashes. An observed one
// is one that we wrote and whose former value is remembered; to remove it is to
// put that value back. One that belongs to a link goes with the link.
type Setting struct {
	Network string // empty in what was observed
	Path    string // "net/ipv4/conf/eth1/forwarding"
	Value   string
}

// Facts is what Want needs to know of the host besides the Spec.
type Facts struct {
	Links   []Link
	Uplinks []string       // links that carry a default route, or the route to an endpoint
	Ports   map[string]int // by device: the ports that the kernel chose; Manager fills it from what it observes

	// Dead devices lead nowhere just now. Manager fills it from what it was
	// told by Dead.
	Dead map[string]bool

	Forwarding6 bool // the host forwarded IPv6 before us
	NoIPv6      bool // the kernel has none, as after a boot with ipv6.disable=1
	Disabled6   bool // new links come without IPv6 (net.ipv6.conf.default.disable_ipv6 is 1)
	StrictPaths bool // packets must come in by the link that leads back (rp_filter is 1 for all links or for new ones)
}

// Link is a network interface that is not ours.
type Link struct {
	Name       string
	Addresses  []netip.Prefix // with the host's own address, not masked
	Forwarding bool           // forwarded before us (IPv4)
	TakesRA    bool           // takes IPv6 router advertisements: accept_ra is 1, or was before we made it 2
}
