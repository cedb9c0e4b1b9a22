// Package plugin runs kinds of checks in programs of their own, and helps to
// write such programs.
//
// An author writes a checks.Kind as if it were built in, and a main that calls
// Serve with it. An agent calls Load, which reads the offers in
// /etc/ginnel/checks.d, starts the programs that they name and returns their
// kinds; to the rest of the agent those are like built-in ones. Where systemd
// listens on Options.Host, a program runs in an instance of a unit without rights,
// whose main is Instance; else it is a child with the agent's user, without the
// agent's capabilities and environment, and with limits.
package plugin

import (
	goplugin "github.com/hashicorp/go-plugin"
)

// Protocol versions that both halves speak. A change that an old plugin would
// not understand is a new version here and a new package of the .proto; the
// two sides then pick the highest that they share.
const protocolVersion = 1

// service is the only thing that a plugin serves.
const service = "checks"

// handshake tells a program that it was started as a check plugin. It is no
// secret and protects nothing.
var handshake = goplugin.HandshakeConfig{
	MagicCookieKey:   "GINNEL_CHECK_PLUGIN",
	MagicCookieValue: "b7c0a1de-one-check-at-a-time",
}

// lifeEnv names the descriptor of the line between the two processes: when one
// of them is gone, the other reads its end.
const lifeEnv = "GINNEL_CHECK_LIFE"
