// Package key has the key types of WireGuard, which cannot be printed or
// confused with one another.
package key
