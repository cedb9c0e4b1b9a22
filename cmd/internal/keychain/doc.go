// Package keychain is how an operator comes by the WireGuard public keys of
// gateways without trusting the collector: it keeps the secrets of site packs
// on the operator's machine, and verifies by them, and by the device keys that
// they made known, what gateways proved.
//
// It writes no fleet file: that is for package fleet.
package keychain
