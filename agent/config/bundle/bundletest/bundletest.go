// Package bundletest makes operators who sign, for tests and rehearsals.
package bundletest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

// Operator has a key of their own, and signs with it.
type Operator struct {
	ssh.Signer
	Name    string
	private ed25519.PrivateKey
}

// New makes an operator with a new key.
func New(name string) Operator {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	s, err := ssh.NewSignerFromKey(private)
	must(err)
	return Operator{s, name, private}
}

// Accepted is the operator as others accept them.
func (o Operator) Accepted() bundle.Signer {
	return bundle.Signer{Name: o.Name, Key: o.PublicKey()}
}

// Line is the operator among the signers of a config.
func (o Operator) Line() string { return o.Accepted().String() }

// Bundle is a text, which must end with a line feed, signed for a namespace of
// package bundle.
func (o Operator) Bundle(text, namespace string) bundle.Bundle {
	b, err := bundle.Sign([]byte(text), namespace, o)
	must(err)
	return b
}

// PEM is the private key as ssh-keygen writes it.
func (o Operator) PEM() []byte {
	block, err := ssh.MarshalPrivateKey(o.private, o.Name)
	must(err)
	return pem.EncodeToMemory(block)
}

// must stops a test that cannot go on: only a text without a line feed at its
// end does that.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
