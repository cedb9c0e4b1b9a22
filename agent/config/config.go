// Package config reads a gateway's desired config: TOML into values that cannot
// be wrong, with every mistake named at once by its place. It also reads the
// host's own ginnel.toml. It opens no socket and changes nothing.
package config

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Config is a desired config. All of its values have been validated.
type Config struct {
	Gateway    string // "avocet-1"
	Generation uint64 // 0: by hand
	Hash       string // SHA-256 of the text, in hex

	Signers   []string      // lines of public keys that may sign the next one, as bundle.Signers; two at least where Generation is not 0
	Collector []string      // URLs, https, in order of preference; empty: as the site pack says
	Trial     time.Duration // how long a change may take to prove itself; 90 s unless given

	Networks []Network
	Checks   []Check
	Manners  checks.Manners // [manners] and [[off]]; what is not given is the default

	file   string  // as messages call it
	places *places // nil: it is from no file
}

// Network is [[network]].
type Network struct {
	Name       string
	Role       tunnels.Role
	Address    []netip.Prefix
	LAN        []netip.Prefix
	Ingress    []string
	ListenPort int           // 0: chosen by the kernel (site); 51820 unless given (hub)
	MTU        int           // 0: 1420
	Probe      time.Duration // between echoes through its tunnels; 10 s unless given
	Table      int           // derived from Name unless given
	Priority   int           // derived from Name unless given
	Device     string        // hub role; derived from Name unless given
	Map        []tunnels.Map // prefixes of LAN that the network knows by others
	MayCover   []string      // names of what its prefixes may cover on this host; see HostCollisions
	Hubs       []Hub
	Sites      []Peer
	Allow      []tunnels.Allow

	// Refused are prefixes that lead nowhere now: see Without. No file has them.
	Refused []netip.Prefix
}

// Hub is [[network.hub]].
type Hub struct {
	Peer
	Endpoints []string // "host:port"
	Device    string   // derived from network and hub unless given
}

// Peer is what a hub and a site have in common; [[network.site]] is no more.
type Peer struct {
	Name             string
	PublicKey        string
	PresharedKeyFile string // absolute path; empty: none
	AllowedIPs       []netip.Prefix
	Keepalive        time.Duration
}

// Check is [[check]].
type Check struct {
	Name      string
	Kind      string
	Network   string
	Target    string
	Beside    string        // paired with this target beside the tunnels; empty: it is not
	Interval  time.Duration // 0 in the file: 30 s
	Timeout   time.Duration // 0 in the file: 5 s, at most nine tenths of the interval
	Down, Up  int
	Degraded  time.Duration
	Unstable  int // percent
	StandsFor string
	Required  bool
	Options   map[string]any
}

// Host is /etc/ginnel/ginnel.toml: what belongs to this machine and not to the
// gateway's place in the fleet. Its zero value is the default.
type Host struct {
	Backend  string   // "", "kernel", "userspace"
	LogLevel string   // "", "debug", "info", "warn", "error"
	Proxy    string   // URL of an HTTP CONNECT proxy
	ExtraCA  string   // PEM file
	Uplinks  []string // links that lead outside; none: found out
	Offload  *bool    // false switches GSO/GRO of the userspace back end off

	// Metrics is where a Prometheus on this host is answered, on loopback; not
	// valid: nowhere.
	Metrics netip.AddrPort

	// DataplaneMemory is the most that one data plane may use, in bytes; 0: it
	// chooses by itself.
	DataplaneMemory int64

	// Protected are prefixes that no network may cover, besides those that
	// are always protected.
	Protected []netip.Prefix
}
