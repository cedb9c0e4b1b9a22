package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// tokenSize is the length of a token in bytes.
const tokenSize = 32

// Token is the one-time secret of a site pack. It cannot be printed: only
// Reveal gives its text. The zero Token is none.
//
// The bytes are behind a function because fmt calls no methods on what it finds
// in unexported fields, and follows a pointer to an array there when the verb is
// a wrong one, such as %s of a struct.
type Token struct{ bytes func() [tokenSize]byte }

func tokenOf(b [tokenSize]byte) Token { return Token{func() [tokenSize]byte { return b }} }

// NewToken makes a token from the system's random source.
func NewToken() Token {
	var b [tokenSize]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return tokenOf(b)
}

var tokenText = base32.StdEncoding.WithPadding(base32.NoPadding)

// ParseToken reads a token as people pass it on: in any case, with or without
// the dashes and spaces between the groups. Its errors never repeat the text.
func ParseToken(text string) (Token, error) {
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(text))
	if clean == "" {
		return Token{}, errors.New("token: it is empty")
	}
	if want := tokenText.EncodedLen(tokenSize); len(clean) != want {
		return Token{}, fmt.Errorf("token: it has %d letters and digits, a token has %d", len(clean), want)
	}
	raw, err := tokenText.DecodeString(clean)
	if err != nil || tokenText.EncodeToString(raw) != clean {
		return Token{}, errors.New("token: it has characters that no token has (A-Z and 2-7 only)")
	}
	return tokenOf([tokenSize]byte(raw)), nil
}

// IsZero says that there is no token.
func (t Token) IsZero() bool { return t.bytes == nil }

// Hash is what the collector may know of the token before it is redeemed.
func (t Token) Hash() [32]byte {
	if t.bytes == nil {
		return [32]byte{}
	}
	b := t.bytes()
	return sha256.Sum256(b[:])
}

// Reveal gives the token's text, in groups of four.
func (t Token) Reveal() string {
	if t.bytes == nil {
		return ""
	}
	b := t.bytes()
	text := tokenText.EncodeToString(b[:])
	var groups []string
	for len(text) > 4 {
		groups, text = append(groups, text[:4]), text[4:]
	}
	return strings.Join(append(groups, text), "-")
}

func (t Token) String() string                { return "(secret)" }
func (t Token) GoString() string              { return "(secret)" }
func (t Token) Format(f fmt.State, verb rune) { io.WriteString(f, "(secret)") }
func (t Token) LogValue() slog.Value          { return slog.StringValue("(secret)") }
func (t Token) MarshalText() ([]byte, error)  { return []byte("(secret)"), nil }
