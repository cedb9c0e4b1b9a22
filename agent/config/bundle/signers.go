package bundle

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Signer is a key that may sign: a line as in ~/.ssh/id_ed25519.pub.
type Signer struct {
	Name string // the line's comment; may be empty
	Key  ssh.PublicKey
}

// Signers are the keys that a gateway accepts.
type Signers []Signer

// kinds are the keys that may sign. DSA is broken, and a certificate would need
// an authority that nobody here keeps.
var kinds = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA,
}

// rsaMin is the least size of an RSA key, in bits: what ssh-keygen makes at the
// least.
const rsaMin = 2048

// ParseSigner reads one line of an authorized_keys file, without options. Its
// error completes the sentence "this is …".
func ParseSigner(line string) (Signer, error) {
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return Signer{}, errors.New("not an OpenSSH public key")
	case len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0 || strings.HasPrefix(strings.TrimSpace(line), "#"):
		return Signer{}, errors.New("more than one OpenSSH public key and its comment")
	case strings.ContainsFunc(comment, func(c rune) bool { return c < ' ' || c > '~' }):
		return Signer{}, errors.New("a key whose comment is not plain ASCII")
	}
	s := Signer{Name: comment, Key: key}
	if err := s.strong(); err != nil {
		return Signer{}, err
	}
	return s, nil
}

// strong refuses keys that must not decide over a site.
func (s Signer) strong() error {
	if !slices.Contains(kinds, s.Key.Type()) {
		return fmt.Errorf("a key of the kind %s, which may not sign", s.Key.Type())
	}
	if k, ok := s.Key.(ssh.CryptoPublicKey); ok {
		if r, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < rsaMin {
			return fmt.Errorf("an RSA key of %d bits, at least %d", r.N.BitLen(), rsaMin)
		}
	}
	return nil
}

// Fingerprint is the key's, as `ssh-keygen -l` prints it: "SHA256:…".
func (s Signer) Fingerprint() string { return ssh.FingerprintSHA256(s.Key) }

// Lines are the lines that ParseSigners reads.
func (all Signers) Lines() []string {
	lines := make([]string, len(all))
	for i, s := range all {
		lines[i] = s.String()
	}
	return lines
}

// ParseSigners reads a list of lines.
func ParseSigners(lines []string) (Signers, error) {
	var all Signers
	for i, line := range lines {
		s, err := ParseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("signers[%d] is %w", i, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// String is the line that ParseSigner reads.
func (s Signer) String() string {
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.Key)))
	if s.Name != "" {
		line += " " + s.Name
	}
	return line
}
