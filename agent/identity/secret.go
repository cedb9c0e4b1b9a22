package identity

import (
	"crypto/hmac"
	"crypto/sha256"
)

// Secret is what a site pack and the operator who made it share, and nobody
// else: never the collector, never git. With it a gateway proves its WireGuard
// keys. It cannot be printed: only Reveal gives its text. The zero Secret is
// none.
type Secret struct{ sealed }

// NewSecret makes a secret from the system's random source.
func NewSecret() Secret { return Secret{newSealed()} }

// ParseSecret reads a secret as Reveal writes it, as ParseToken does.
func ParseSecret(text string) (Secret, error) {
	s, err := parseSealed("secret", text)
	return Secret{s}, err
}

// mac is the HMAC-SHA256 of text; nil under no secret.
func (s Secret) mac(text []byte) []byte {
	if s.bytes == nil {
		return nil
	}
	key := s.bytes()
	h := hmac.New(sha256.New, key[:])
	h.Write(text)
	return h.Sum(nil)
}
