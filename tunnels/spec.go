// Package tunnels decides what a gateway's virtual networks look like on its
// host, and keeps them so: Want turns a Spec into the objects that should be
// there, Plan compares them with those that are, and Manager applies the
// difference until there is none.
//
// There is no operating system in this package. How objects are read and
// written is in tunnels/host (links, addresses, routes, rules, filters,
// settings) and tunnels/wireguard (devices and their data planes), behind the
// Host interface.
package tunnels

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// Role says which end of a network a gateway is.
type Role string

const (
	Site Role = "site" // brings a LAN to the network; dials its hubs
	Hub  Role = "hub"  // listens; forwards between its LAN and its sites
)

// Spec is all that one gateway is to have of tunnels. The zero Spec wants
// nothing: a plan towards it withdraws everything of ours.
type Spec struct {
	Networks []Network
}

// Network is one virtual network as this gateway takes part in it. Each has
// its own devices, key, routing table, rules and filter table, so that a fault
// in one is no concern of another.
type Network struct {
	Name      string         // unique in the Spec
	Role      Role           // zero means Site
	Addresses []netip.Prefix // ours inside the tunnel, one /32 or /128 each
	LAN       []netip.Prefix // what we bring to the network
	Map       []Map          // prefixes of LAN that the network knows by others
	Ingress   []string       // links whose traffic may enter; none: traffic from LAN prefixes
	Table     int            // routing table number
	Priority  int            // of its first rule; the others follow
	Devices   []Tunnel       // site: one for each hub, in order of preference; hub: one
	Allow     []Allow        // who may open connections beyond the default
	EchoPort  int            // in the hub role, the UDP port at our addresses at which sites may ask for an echo; 0: none
	Refused   []netip.Prefix // of peers that are shut out: what is for them is sent nowhere else
}

// Tunnel is one WireGuard device of a network.
type Tunnel struct {
	Device     string // link name, "gn-…", at most 15 bytes
	Hub        string // the hub it leads to; empty in the hub role
	PrivateKey key.Private
	ListenPort int // UDP; 0: the kernel chooses one and keeps it
	MTU        int // bytes; 0: 1420
	Peers      []PeerSpec
}

// PeerSpec is one peer as wanted.
type PeerSpec struct {
	Name         string // hub or gateway
	PublicKey    key.Public
	PresharedKey key.Preshared  // zero: none
	Endpoints    []string       // "host:port", in order of preference; none: the peer calls us
	AllowedIPs   []netip.Prefix // accepted from and routed to it
	Keepalive    time.Duration  // 0: none
}

// Map says that the network knows a prefix of a site's LAN by another one of
// the same length, 1:1: address for address, both ways.
type Map struct{ LAN, As netip.Prefix }

// Allow lets connections of one direction be opened inside a network. From and
// To are prefixes, or the word "sites" for every site's LAN.
type Allow struct {
	From, To string
	Ports    []string // "tcp/443", "udp/53", "icmp"; none: any
}
