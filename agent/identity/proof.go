package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

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

// Statement is what a Proof says: all keys that the gateway has by then. Each
// later one of a device stands for those before it, and accounts for every key
// that was ever stated (but those of long ago, see maxFormer), so that an old one
// that is shown again can be told.
type Statement struct {
	Gateway string `json:"gateway"`
	UID     string `json:"uid"`
	Device  []byte `json:"device"` // public device key, PKIX
	Number  uint64 `json:"number"` // of the device's statements, from 1
	// Keys are the public WireGuard keys by network; Former those that they
	// took the place of, oldest first.
	Keys   map[string]key.Public   `json:"keys"`
	Former map[string][]key.Public `json:"former,omitempty"`
	At     time.Time               `json:"at"` // by the gateway's clock
}

// Bounds of a statement.
const (
	MaxProof     = 64 << 10 // bytes of text
	MaxProofKeys = 64       // networks
	maxFormer    = 64       // of a network; fewer where the text would be too long
)

// Errors of ByPack and ByDevice.
var (
	ErrMAC       = errors.New("its MAC is not of the site pack's secret")
	ErrSignature = errors.New("its signature is not of the device key")
)

// proofContext begins what is signed, so that no signature for another purpose
// is one of a proof.
const proofContext = "ginnel proof 1\n"

func signedText(text []byte) []byte { return append([]byte(proofContext), text...) }

// ByPack believes a proof by its MAC under the pack's secret.
func (p Proof) ByPack(s Secret) (Statement, error) {
	if s.IsZero() || !hmac.Equal(p.MAC, s.mac(signedText(p.Text))) {
		return Statement{}, ErrMAC
	}
	return p.Stated()
}

// ByDevice believes a proof by the device key, PKIX.
func (p Proof) ByDevice(pkix []byte) (Statement, error) {
	st, err := p.Stated()
	if err == nil && !bytes.Equal(st.Device, pkix) {
		return Statement{}, ErrSignature
	}
	return st, err
}

// Stated is what a proof says by itself: it is signed by the device key that is
// in it, which anybody can make.
func (p Proof) Stated() (Statement, error) {
	st, err := p.Claimed()
	if err != nil {
		return Statement{}, err
	}
	device, _ := x509.ParsePKIXPublicKey(st.Device) // Claimed has looked
	sum := sha256.Sum256(signedText(p.Text))
	if !ecdsa.VerifyASN1(device.(*ecdsa.PublicKey), sum[:], p.Signature) {
		return Statement{}, ErrSignature
	}
	return st, nil
}

// Claimed is what the text says, whoever signed it: to tell people what they
// were shown.
func (p Proof) Claimed() (Statement, error) {
	var st Statement
	if len(p.Text) > MaxProof {
		return st, fmt.Errorf("a proof of %d bytes, at most %d", len(p.Text), MaxProof)
	}
	if err := json.Unmarshal(p.Text, &st); err != nil {
		return Statement{}, errors.New("its text is not a statement")
	}
	return st, st.validate()
}

func (st Statement) validate() error {
	if !ValidName(st.Gateway) {
		return fmt.Errorf("it states the gateway %q, which is not a name", st.Gateway)
	}
	device, err := x509.ParsePKIXPublicKey(st.Device)
	if k, ok := device.(*ecdsa.PublicKey); err != nil || !ok || k.Curve != elliptic.P256() {
		return errors.New("it states a device key that is not of ECDSA P-256")
	}
	if len(st.Keys) > MaxProofKeys || len(st.Former) > MaxProofKeys {
		return fmt.Errorf("it states keys of %d networks, at most %d", max(len(st.Keys), len(st.Former)), MaxProofKeys)
	}
	for network, k := range st.Keys {
		if !ValidName(network) || k.IsZero() {
			return fmt.Errorf("it states no key for %q, or that is not a name", network)
		}
	}
	for network, list := range st.Former {
		if !ValidName(network) || len(list) > maxFormer {
			return fmt.Errorf("it states %d former keys of %q", len(list), network)
		}
	}
	return nil
}

// Hash names a proof: SHA-256 in hex.
func (p Proof) Hash() string {
	h := sha256.New()
	for _, part := range [][]byte{p.Text, p.MAC, p.Signature} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// newProof signs a statement, less the oldest of the former keys where it is too
// long; the caller holds mu.
func (i *Identity) newProof(st Statement, s Secret) (Proof, error) {
	if err := st.validate(); err != nil {
		return Proof{}, err
	}
	text, err := json.Marshal(st)
	for err == nil && len(text) > MaxProof && st.shorten() {
		text, err = json.Marshal(st)
	}
	if err != nil {
		return Proof{}, err
	}
	sum := sha256.Sum256(signedText(text))
	signature, err := ecdsa.SignASN1(rand.Reader, i.key, sum[:])
	if err != nil {
		return Proof{}, err
	}
	return Proof{Text: text, MAC: s.mac(signedText(text)), Signature: signature}, nil
}

// shorten leaves out the oldest key of the network that changed most often; false:
// there is none.
func (st Statement) shorten() bool {
	most := ""
	for network, former := range st.Former {
		if len(former) > len(st.Former[most]) {
			most = network
		}
	}
	if most == "" {
		return false
	}
	st.Former[most] = st.Former[most][1:]
	return true
}
