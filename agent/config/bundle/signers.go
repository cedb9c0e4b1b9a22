package bundle

import (
	"fmt"
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

// ParseSigner reads one line of an authorized_keys file, without options.
func ParseSigner(line string) (Signer, error) {
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return Signer{}, fmt.Errorf("not an OpenSSH public key: %w", err)
	case len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0:
		return Signer{}, fmt.Errorf("more than one OpenSSH public key and its comment")
	}
	return Signer{Name: comment, Key: key}, nil
}

// ParseSigners reads a list of lines.
func ParseSigners(lines []string) (Signers, error) {
	var all Signers
	for i, line := range lines {
		s, err := ParseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("signers[%d]: %w", i, err)
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
