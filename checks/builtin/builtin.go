// Package builtin holds the kinds of checks that are part of the agent. One
// file is one kind; how to reach a target from the right address, and how to say
// what went wrong, is in package reach. It knows nothing of tunnels: what a
// handshake check needs is given to it.
package builtin

import "github.com/ginnel/ginnel/checks"

// Kinds returns all kinds of this package. Without a way to look at handshakes
// there is no handshake kind.
func Kinds(look Look) []checks.Kind {
	kinds := []checks.Kind{TCP(), ICMP(), DNS(), HTTP(), TLS(), NTP(), Link(), Path(), UDP(), MTU()}
	if look != nil {
		kinds = append(kinds, HandshakeKind(look))
	}
	return kinds
}
