package why

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Facts is what is known of a gateway at one moment.
type Facts struct {
	Gateway string
	Name    string // of the site, for people
	Version string
	At      time.Time

	NotRunning bool      // nobody measures: the agent does not run
	Down       time.Time // when the tunnels were taken down by hand; zero: they were not
	Config     Config
	WAN        WAN
	Host       Host
	Clock      Clock
	Collector  Collector
	Tunnels    []Tunnel
	Checks     []Check    // all of them
	Evidence   []Evidence // that is kept, the newest first
}

// Evidence is what was kept of one change to something worse.
type Evidence struct {
	ID      string    `json:"id"`                // what `ginnel evidence` takes
	Name    string    `json:"name"`              // of the check or tunnel that changed
	Network string    `json:"network,omitempty"` // its own; empty: beside the tunnels
	At      time.Time `json:"at"`
}

// Answer is yes, no, or not known.
type Answer byte

const (
	NotKnown Answer = iota
	Yes
	No
)

// Config is how it stands with the desired config.
type Config struct {
	There   bool
	Damaged string // what cannot be read of identity or trust; empty: nothing
	Fault   string // why the newest was refused; empty: it was not
	Text    string // "generation 14", for people

	Newest string // what became of the newest signed one, in words; empty: it runs, or is being tried
	Held   bool   // it runs all the same, unconfirmed
}

// WAN is the site's own line.
type WAN struct {
	Links    []Link // those that lead to the WAN, or led there last
	Gateways []Gateway
	NotRead  string // why nothing is known; empty: it is
}

// Link is a WAN port.
type Link struct {
	Name      string
	There, Up bool // there, and switched on
	Carrier   bool
	Addresses []netip.Addr // but link-local ones
}

// Gateway is the next hop of a default route.
type Gateway struct {
	Address netip.Addr // zero: the link itself leads out
	Link    string
	Answers Answer
}

// Host is what is wrong with this machine as a whole.
type Host struct {
	Fault     string // why it cannot be read or changed; empty: it can
	NoRights  bool   // that is because of a lacking right
	NoFilters bool   // or because there is no nftables
	Drops     Drop   // what somebody else drops of what we forward
}

// Drop is a firewall of somebody else's that drops what is forwarded.
type Drop struct {
	By   string // "docker's chain FORWARD"; empty: there is none
	Type string // the line to type
}

// Clock is how far this host's clock can be trusted.
type Clock struct {
	Synced bool          // the kernel says that something keeps it
	Within time.Duration // how well, by the kernel; 0: it does not say
	Off    time.Duration // against the collector: above 0, ours is ahead
	Fine   time.Duration // of Off: it may be wrong by so much; 0: nothing was compared
	Floor  time.Time     // a time that has certainly been; zero: none is known
}

// Collector is the way to the centre.
type Collector struct {
	Name        string // host; empty: not enrolled
	LastReceipt time.Time
	Error       string // what is wrong now; empty: nothing
	Kind        string // of Error, in the uplink's words
}

// Tunnel is one tunnel of one network.
type Tunnel struct {
	Network, Hub, Device string
	HubRole              bool // this gateway is the hub
	State                checks.State
	Since                time.Time
	Said                 string    // by the tunnel's own check
	Doubtful             bool      // its last run failed, and it is not called down yet
	Heard                time.Time // when the last echo that was answered was sent
	RTT                  time.Duration

	There, Up bool
	MTU       int
	TakenBy   string // whose link has our device's name; empty: it is ours, or not there
	Addresses []netip.Addr
	Rule      string // the one that leads the LAN's traffic in, as ip rule shows it
	Route     string
	Table     int

	Unmet     []Unmet // what is not as wanted just now
	Err       string  // of the last step that failed
	Hint      string
	Contested []Contest
	Lacks     []Lack

	Lookups  []Lookup
	Refusing bool // its traffic is refused on purpose while its hub is dead

	Names          []Name
	Endpoint       netip.AddrPort // in use; zero: none is known
	Key            bool           // the hub is among the device's peers
	LastHandshake  time.Time
	Quiet          time.Time // when something came from the hub last; Sent counts from then
	Sent, Received int64     // bytes

	Probed   bool // the hub is asked for an echo
	Peers    int  // in the hub role
	PeersUp  int
	LAN      []netip.Prefix
	Prefixes []netip.Prefix // behind the hub
}

// Lack is what of the config cannot be had on this host.
type Lack struct{ Part, Text, Hint string }

// Unmet is a step that is still to be taken.
type Unmet struct{ Kind, Text string }

// Contest is an object that somebody else keeps changing.
type Contest struct {
	Kind, Text, Culprit string
	Since               time.Time
	Times               int
}

// Lookup is where the kernel would send a packet.
type Lookup struct {
	What     string // whose packet: "the LAN", "this host"
	From, To netip.Addr
	Device   string // where it would go; empty: nowhere
	Table    int    // that says so; 0: not known
	Refused  bool   // it would be refused
	Rule     string // the rule that decided, where it is not ours; may be empty
	Err      string // the kernel would not say; such a Lookup proves nothing
}

// Name is a name that a hub is dialled by.
type Name struct {
	Name      string
	Addresses []netip.Addr
	Asked     time.Time
	Err       string // of the last question; empty: answered
	Port      uint16
}

// Check is one check of a service.
type Check struct {
	Name, Network, Target, StandsFor string
	State                            checks.State
	Since                            time.Time
	Reason                           checks.Reason
	Detail                           string
	WaitsFor                         string
	Heard                            time.Time // when the last run that went well began
	Doubtful                         bool      // the last run failed, and it is not called down yet
	RTT                              time.Duration
}
