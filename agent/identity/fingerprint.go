package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

// Fingerprint is a public key, 32 bytes of WireGuard's or the PKIX of a device,
// as two people compare it over the telephone: "WOLF-42-TRAM-07". It has 29 bits:
// enough to find a mistake, and no proof of anything.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(append([]byte("ginnel fingerprint 1\n"), key...))
	word := func(b byte) string { return strings.ToUpper(fingerprintWords[b]) }
	number := func(b []byte) uint32 { return binary.BigEndian.Uint32(b) % 100 }
	return fmt.Sprintf("%s-%02d-%s-%02d", word(sum[0]), number(sum[1:]), word(sum[5]), number(sum[6:]))
}
