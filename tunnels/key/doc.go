// Package key has the key types of WireGuard, which cannot be printed by
// accident or confused with one another, and the files that secret ones live
// in. It does no WireGuard: tunnels/wireguard hands the bytes to a device.
package key

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Size is the length of each kind of key in bytes.
const Size = 32

// ErrFormat is wrapped by every error about text that is not a key. Those
// errors tell what is wrong with the text and never repeat it: it may be a
// secret in the wrong place.
var ErrFormat = errors.New("not a WireGuard key")

// decode reads the base64 of exactly one key, as wg(8) writes it.
func decode(text string) ([Size]byte, error) {
	var k [Size]byte
	switch {
	case text == "":
		return k, fmt.Errorf("%w: it is empty", ErrFormat)
	case strings.ContainsAny(text, " \t\r\n"):
		return k, fmt.Errorf("%w: it has white space in it", ErrFormat)
	case len(text) != base64.StdEncoding.EncodedLen(Size):
		return k, fmt.Errorf("%w: it has %d characters, a key has 44", ErrFormat, len(text))
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if at, ok := errors.AsType[base64.CorruptInputError](err); ok && int(at) >= len(text)-1 {
		return k, fmt.Errorf("%w: its last character has bits beyond 32 bytes", ErrFormat)
	} else if ok {
		return k, fmt.Errorf("%w: character %d cannot stand there in base64", ErrFormat, int64(at)+1)
	}
	if err != nil || len(b) != Size {
		return k, fmt.Errorf("%w: it is not the base64 of %d bytes", ErrFormat, Size)
	}
	copy(k[:], b)
	return k, nil
}
