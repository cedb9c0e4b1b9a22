// Package builtin holds the kinds of checks that are part of the agent. One
// file is one kind; what they share is how to reach a target from the right
// address (dial.go) and how to say what went wrong (fault.go). It knows nothing
// of tunnels: what a handshake check needs is given to it.
package builtin

import (
	"net/netip"

	"github.com/ginnel/ginnel/checks"
)

// Kinds returns all kinds of this package. Without a way to look at handshakes
// there is no handshake kind.
func Kinds(look Look) []checks.Kind {
	kinds := []checks.Kind{TCP(), ICMP(), DNS(), HTTP(), TLS()}
	if look != nil {
		kinds = append(kinds, HandshakeKind(look))
	}
	return kinds
}

// familyOf tells IPv4 from IPv6 in words.
func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
