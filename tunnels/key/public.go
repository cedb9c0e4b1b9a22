package key

import "encoding/base64"

// Public is a WireGuard public key: it names a peer and is no secret. Two are
// compared with ==. The zero value means that there is none.
type Public [Size]byte

// ParsePublic reads base64 as wg(8) writes it: 44 characters.
func ParsePublic(text string) (Public, error) {
	k, err := decode(text)
	return Public(k), err
}

// IsZero is true if p is no key.
func (p Public) IsZero() bool { return p == Public{} }

// String is the key's base64; empty for the zero value.
func (p Public) String() string {
	if p.IsZero() {
		return ""
	}
	return base64.StdEncoding.EncodeToString(p[:])
}

// MarshalText is String as a text form for JSON and TOML.
func (p Public) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text is the zero value.
func (p *Public) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Public{}
		return nil
	}
	k, err := ParsePublic(string(text))
	if err != nil {
		return err
	}
	*p = k
	return nil
}
