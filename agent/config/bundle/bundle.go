// Package bundle is a text with the signature of an operator under it: a desired
// config, or a list of what is shut out. The signature is OpenSSH's
// (PROTOCOL.sshsig), so that `ssh-keygen -Y verify` accepts what we sign and we
// what it signs.
//
// A bundle as a file is its text and behind it the armoured signature: what
// stands before the line -----BEGIN SSH SIGNATURE----- is what was signed.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Namespaces of signatures (ssh-keygen(1), -n): one for a sort of text is never
// good for another.
const (
	Config = "ginnel-config"
	List   = "ginnel-list"
)

// MaxSize bounds a bundle in bytes, text and signature.
const (
	MaxSize      = maxText + maxSignature
	maxText      = 16 << 20
	maxSignature = 16 << 10
)

// Errors that callers decide by.
var (
	ErrUnsigned = errors.New("it is not signed")
	ErrCutOff   = errors.New("it is cut off: its signature has no end")
	ErrTooLarge = errors.New("it is too large")
	ErrSigner   = errors.New("it is signed by a key that is not accepted here")
	ErrPurpose  = errors.New("it is signed for another purpose")
	ErrAltered  = errors.New("its signature is not of this text")
)

// Bundle is a signed text. Its signature has not been looked at: see Verify.
type Bundle struct {
	Text      []byte
	Signature []byte // armoured
}

const (
	begin = "-----BEGIN SSH SIGNATURE-----"
	end   = "-----END SSH SIGNATURE-----"
)

// Parse takes a file or message apart.
func Parse(raw []byte) (Bundle, error) {
	if len(raw) > MaxSize {
		return Bundle{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), MaxSize)
	}
	at := bytes.LastIndex(raw, []byte("\n"+begin))
	if at < 0 {
		return Bundle{}, ErrUnsigned
	}
	b := Bundle{Text: raw[:at+1], Signature: raw[at+1:]}
	switch {
	case !bytes.HasSuffix(bytes.TrimSpace(b.Signature), []byte("\n"+end)):
		return Bundle{}, ErrCutOff
	case len(b.Text) > maxText, len(b.Signature) > maxSignature:
		return Bundle{}, fmt.Errorf("%w: a text of %d bytes and a signature of %d, at most %d and %d",
			ErrTooLarge, len(b.Text), len(b.Signature), maxText, maxSignature)
	}
	return b, nil
}

// Bytes is the bundle as a file or message.
func (b Bundle) Bytes() []byte { return append(bytes.Clone(b.Text), b.Signature...) }

// Hash is the SHA-256 of the text, in hex.
func (b Bundle) Hash() string {
	sum := sha256.Sum256(b.Text)
	return hex.EncodeToString(sum[:])
}

// Sign signs a text, which must end with a line feed, for a namespace.
func Sign(text []byte, namespace string, with ssh.Signer) (Bundle, error) {
	if !bytes.HasSuffix(text, []byte("\n")) {
		return Bundle{}, errors.New("sign: the text does not end with a line feed")
	}
	s, err := sshsig.Sign(bytes.NewReader(text), with, sshsig.HashSHA512, namespace)
	if err != nil {
		return Bundle{}, fmt.Errorf("sign: %w", err)
	}
	return Bundle{Text: text, Signature: sshsig.Armor(s)}, nil
}

// Claimed is the key that signed the text for the namespace, whosever it is: it
// tells who signed, and nothing of whether that is to be believed.
func (b Bundle) Claimed(namespace string) (Signer, error) {
	s, err := sshsig.Unarmor(b.Signature)
	if err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	return b.Verify(namespace, Signers{{Key: s.PublicKey}})
}

// Verify says which of the signers signed the text for the namespace.
func (b Bundle) Verify(namespace string, accepted Signers) (Signer, error) {
	s, err := sshsig.Unarmor(b.Signature)
	if err != nil {
		return Signer{}, fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	for _, a := range accepted {
		if !bytes.Equal(a.Key.Marshal(), s.PublicKey.Marshal()) {
			continue
		}
		if s.Namespace != namespace {
			return Signer{}, fmt.Errorf("%w: %q, not %q", ErrPurpose, s.Namespace, namespace)
		}
		if err := sshsig.Verify(bytes.NewReader(b.Text), s, a.Key, s.HashAlgorithm, namespace); err != nil {
			return Signer{}, fmt.Errorf("%w: %w", ErrAltered, err)
		}
		return a, nil
	}
	return Signer{}, fmt.Errorf("%w: %s", ErrSigner, ssh.FingerprintSHA256(s.PublicKey))
}
