// Package wire is what a gateway and its collector say to each other beyond
// OpAMP's own messages: one envelope each way, in a custom message.
//
// Nothing in it is believed because it came over TLS: bundles and lists carry
// the operators' signatures, proofs of keys the gateway's own, receipts the
// collector's.
package wire

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
)

// Capability is the custom capability that both ends announce; Gateway and
// Centre are the types of its messages, each a JSON document.
const (
	Capability = "io.ginnel.control"
	Gateway    = "gateway" // a Said
	Centre     = "centre"  // a Told
)

// BundleFile is the name of the signed bundle in OpAMP's map of remote configs.
// The config hash is the SHA-256 of the bundle's text, which is also the hash
// of the config that runs it.
const BundleFile = "bundle"

// Said is what a gateway says with every message.
type Said struct {
	// Snapshot is the gateway now; its At is zero in the session of an
	// enrolment, which measures nothing.
	Snapshot block.Snapshot `json:"snapshot"`
	// Boot is the kernel's boot id: two that alternate under one identity are
	// a copied disk.
	Boot string `json:"boot,omitempty"`
	// Nonce asks for a receipt of the trial of Hash, in hex; empty: none runs.
	Nonce string `json:"nonce,omitempty"`
	Hash  string `json:"hash,omitempty"`
	// Proofs of WireGuard keys, until the collector says that it knows them.
	Proofs []identity.Proof `json:"proofs,omitempty"`
	// List is the number of the list that is in force; 0: none.
	List uint64 `json:"list,omitempty"`
}

// Told is what a collector answers, where there is something to say.
type Told struct {
	Receipt *Receipt `json:"receipt,omitempty"`
	// Wanted are networks for which a key is to be made and proved.
	Wanted []string `json:"wanted,omitempty"`
	// Known are the hashes (SHA-256, hex) of the proofs that are kept.
	Known []string `json:"known,omitempty"`
	// List is a signed list with a higher number than the gateway's; it is a
	// bundle as bundle.Parse reads it.
	List []byte `json:"list,omitempty"`
	// Slot is the gateway's moment in a window of time, both in seconds: once
	// the collector is lost, it is tried where the time since 1970, modulo the
	// window, is the slot. Window 0: nothing is said of it.
	Slot   float64 `json:"slot_seconds,omitempty"`
	Window float64 `json:"window_seconds,omitempty"`
}

// Receipt is the collector's signed word that it heard a trial's nonce.
type Receipt struct {
	Hash      string `json:"hash"`
	Nonce     string `json:"nonce"`
	Signature []byte `json:"signature"` // ASN.1 ECDSA with SHA-256 of Text, by the collector's CA
}

// Text is what is signed: gateway is the one that the receipt is for.
func (r Receipt) Text(gateway string) []byte {
	return []byte("ginnel receipt 1\n" + gateway + "\n" + r.Hash + "\n" + r.Nonce + "\n")
}

// Verify says whether a receipt is for the gateway, signed by one of the CAs of
// the PEM.
func (r Receipt) Verify(gateway string, ca []byte) error {
	sum := sha256.Sum256(r.Text(gateway))
	for block, rest := pem.Decode(ca); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("the collector's CA: %w", err)
		}
		if k, ok := c.PublicKey.(*ecdsa.PublicKey); ok && ecdsa.VerifyASN1(k, sum[:], r.Signature) {
			return nil
		}
	}
	return errors.New("the receipt is not signed by the collector's CA, or is for another gateway")
}
