package identity

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// sealedSize is the length of a token, and of a secret, in bytes.
const sealedSize = 32

// sealed are random bytes that cannot be printed.
//
// The bytes are behind a function because fmt calls no methods on what it finds
// in unexported fields, and follows a pointer to an array there when the verb is
// a wrong one, such as %s of a struct.
type sealed struct{ bytes func() [sealedSize]byte }

func sealedOf(b [sealedSize]byte) sealed { return sealed{func() [sealedSize]byte { return b }} }

func newSealed() sealed {
	var b [sealedSize]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return sealedOf(b)
}

var sealedText = base32.StdEncoding.WithPadding(base32.NoPadding)

// parseSealed reads what Reveal wrote; what is the word for it in errors.
func parseSealed(what, text string) (sealed, error) {
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(text))
	if clean == "" {
		return sealed{}, fmt.Errorf("%s: it is empty", what)
	}
	if want := sealedText.EncodedLen(sealedSize); len(clean) != want {
		return sealed{}, fmt.Errorf("%s: it has %d letters and digits, a %s has %d", what, len(clean), what, want)
	}
	raw, err := sealedText.DecodeString(clean)
	if err != nil || sealedText.EncodeToString(raw) != clean {
		return sealed{}, fmt.Errorf("%s: it has characters that no %s has (A-Z and 2-7 only)", what, what)
	}
	return sealedOf([sealedSize]byte(raw)), nil
}

// IsZero says that there is none.
func (s sealed) IsZero() bool { return s.bytes == nil }

// Reveal gives the text, in groups of four.
func (s sealed) Reveal() string {
	if s.bytes == nil {
		return ""
	}
	b := s.bytes()
	text := sealedText.EncodeToString(b[:])
	var groups []string
	for len(text) > 4 {
		groups, text = append(groups, text[:4]), text[4:]
	}
	return strings.Join(append(groups, text), "-")
}

func (s sealed) String() string                { return "(secret)" }
func (s sealed) GoString() string              { return "(secret)" }
func (s sealed) Format(f fmt.State, verb rune) { io.WriteString(f, "(secret)") }
func (s sealed) LogValue() slog.Value          { return slog.StringValue("(secret)") }
func (s sealed) MarshalText() ([]byte, error)  { return []byte("(secret)"), nil }
