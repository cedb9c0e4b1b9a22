package key

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// secret holds a key behind two pointers. fmt and slog do not call methods on
// the unexported fields of a struct that they print. There an array would show
// its bytes, and so would a pointer to one under a verb that does not fit it
// (%s): fmt then follows one pointer. The first field makes == a mistake for the
// compiler: it would compare addresses.
type secret struct {
	_   [0]func()
	box *box
}

type box struct{ k *[Size]byte }

func newSecret(k [Size]byte) secret { return secret{box: &box{k: &k}} }

// hidden is what every way to print a secret gives.
const hidden = "(secret key)"

// IsZero is true if there is no key.
func (s secret) IsZero() bool { return s.box == nil }

// Bytes is the key itself, for the one place that gives it to a device or
// writes it to its file. All zeros if there is none.
func (s secret) Bytes() [Size]byte {
	if s.box == nil {
		return [Size]byte{}
	}
	return *s.box.k
}

func (s secret) same(o secret) bool {
	a, b := s.Bytes(), o.Bytes()
	return s.IsZero() == o.IsZero() && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String does not tell the key.
func (s secret) String() string {
	if s.box == nil {
		return ""
	}
	return hidden
}

// Format does not tell the key, whatever the verb.
func (s secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue does not tell the key.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText does not tell the key.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Private is a WireGuard private key. It cannot be printed, logged or encoded;
// only Bytes tells it. The zero value means that there is none.
type Private struct {
	secret
	public Public // of the secret; kept, as it takes long to compute and is asked for often
}

// Preshared is a WireGuard preshared key, as guarded as Private. The zero value
// means that there is none.
type Preshared struct{ secret }

// NewPrivate makes a key from the system's random numbers.
func NewPrivate() Private {
	var k [Size]byte
	_, _ = rand.Read(k[:]) // never fails: crypto/rand ends the program instead
	return clamped(k)
}

// NewPreshared makes a key from the system's random numbers.
func NewPreshared() Preshared {
	var k [Size]byte
	_, _ = rand.Read(k[:])
	return Preshared{newSecret(k)}
}

// ParsePrivate reads base64 as wg(8) writes it. Bits that X25519 fixes (RFC
// 7748 section 5) are set as it fixes them, so that Bytes is what a device
// tells back. A key of zeros only is refused.
func ParsePrivate(text string) (Private, error) {
	k, err := decode(text)
	if err != nil {
		return Private{}, err
	}
	if k == [Size]byte{} {
		return Private{}, fmt.Errorf("%w: it is all zeros", ErrFormat)
	}
	return clamped(k), nil
}

// ParsePreshared reads base64 as wg(8) writes it. A key of zeros only, which
// WireGuard takes for none, is refused.
func ParsePreshared(text string) (Preshared, error) {
	k, err := decode(text)
	if err != nil {
		return Preshared{}, err
	}
	if k == [Size]byte{} {
		return Preshared{}, fmt.Errorf("%w: it is all zeros, which WireGuard takes for none", ErrFormat)
	}
	return Preshared{newSecret(k)}, nil
}

// PresharedFromBytes is for a device that tells the key it has; all zeros is
// the zero value.
func PresharedFromBytes(k [Size]byte) Preshared {
	if k == [Size]byte{} {
		return Preshared{}
	}
	return Preshared{newSecret(k)}
}

// Public is the public half of p; zero if p is.
func (p Private) Public() Public { return p.public }

// Equal compares in constant time.
func (p Private) Equal(o Private) bool { return p.same(o.secret) }

// Equal compares in constant time.
func (p Preshared) Equal(o Preshared) bool { return p.same(o.secret) }

func clamped(k [Size]byte) Private {
	k[0] &= 248
	k[31] = k[31]&127 | 64
	x, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic("key: 32 bytes refused as an X25519 key: " + err.Error())
	}
	return Private{newSecret(k), Public(x.PublicKey().Bytes())}
}
