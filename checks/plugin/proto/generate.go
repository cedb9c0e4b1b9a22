// Package proto is the wire between the agent and a check plugin: code made
// from checks.proto, and nothing else.
package proto

//go:generate ./generate
