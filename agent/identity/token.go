package identity

import "crypto/sha256"

// Token is the one-time secret of a site pack, with which a gateway enrols. It
// cannot be printed: only Reveal gives its text. The zero Token is none.
type Token struct{ sealed }

// NewToken makes a token from the system's random source.
func NewToken() Token { return Token{newSealed()} }

// ParseToken reads a token as people pass it on: in any case, with or without
// the dashes and spaces between the groups. Its errors never repeat the text.
func ParseToken(text string) (Token, error) {
	s, err := parseSealed("token", text)
	return Token{s}, err
}

// Hash is what the collector may know of the token before it is redeemed.
func (t Token) Hash() [32]byte {
	if t.bytes == nil {
		return [32]byte{}
	}
	b := t.bytes()
	return sha256.Sum256(b[:])
}
