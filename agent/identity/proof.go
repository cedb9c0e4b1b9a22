package identity

import "time"

// Proof is how WireGuard public keys reach the operator without trusting the
// collector, which only passes it on: a text, the MAC of it under the secret of
// the site pack, and the signature of it by the device key. The first proof of
// a gateway is believed by its MAC and makes the device key known; later ones
// by that key.
type Proof struct {
	Text      []byte `json:"text"`          // a Statement as JSON
	MAC       []byte `json:"mac,omitempty"` // HMAC-SHA256; absent: made after the pack's secret was gone
	Signature []byte `json:"signature"`     // ASN.1 ECDSA with SHA-256
}

// Statement is what a Proof says.
type Statement struct {
	Gateway string            `json:"gateway"`
	UID     string            `json:"uid"`
	Device  []byte            `json:"device"` // public device key, PKIX
	Keys    map[string]string `json:"keys"`   // public WireGuard key by network, base64
	At      time.Time         `json:"at"`
}
