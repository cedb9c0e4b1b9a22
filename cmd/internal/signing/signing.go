// Package signing reaches an operator's key, wherever it is: in a file, in an
// ssh-agent, or in a FIDO token. It makes bundles that `ssh-keygen -Y verify`
// accepts, and knows no gateway.
package signing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// Key is an operator's key that can be used.
type Key struct {
	By    bundle.Signer
	Where string // "agent", or its file
	sign  func(ctx context.Context, text []byte, namespace string) (bundle.Bundle, error)
}

// Touched reports whether the key wants to be touched for each signature.
func (k *Key) Touched() bool { return strings.HasPrefix(k.By.Key.Type(), "sk-") }

// Sign signs a text, which must end with a line feed, for a namespace of
// package bundle. What came back is verified before it is given.
func (k *Key) Sign(ctx context.Context, text []byte, namespace string) (bundle.Bundle, error) {
	b, err := k.sign(ctx, text, namespace)
	if err != nil {
		return bundle.Bundle{}, err
	}
	if _, err := b.Verify(namespace, bundle.Signers{k.By}); err != nil {
		return bundle.Bundle{}, cli.WithHint(fmt.Errorf("what %s signed would be refused: %w", k.Where, err),
			"a FIDO key must ask to be touched: make it without no-touch-required")
	}
	return b, nil
}

// Open finds the key that where names: the file of a private key; that of a
// public key whose private half is in the ssh-agent or beside it; "agent", or
// "agent:COMMENT"; empty: whichever of the accepted ones is in the agent, or
// else in ~/.ssh. A key that is not among accepted is refused, as nobody would
// believe it; none accepted: any is good. A passphrase is asked for on the
// terminal.
func Open(ctx context.Context, where string, accepted bundle.Signers, std cli.IO) (*Key, error) {
	o := opener{ctx: ctx, accepted: accepted, std: std}
	comment, named := strings.CutPrefix(where, "agent:")
	switch {
	case where == "":
		return o.anywhere()
	case where == "agent":
		return o.fromAgent("")
	case named:
		return o.fromAgent(comment)
	}
	return o.fromFile(where)
}

// opener is one search for a key.
type opener struct {
	ctx      context.Context
	accepted bundle.Signers
	std      cli.IO
}

// takes reports whether a key would be believed.
func (o opener) takes(s bundle.Signer) bool {
	return len(o.accepted) == 0 || slices.ContainsFunc(o.accepted, func(a bundle.Signer) bool { return same(a, s) })
}

func same(a, b bundle.Signer) bool { return string(a.Key.Marshal()) == string(b.Key.Marshal()) }

// named gives a key the name that it is accepted under.
func (o opener) named(s bundle.Signer) bundle.Signer {
	if i := slices.IndexFunc(o.accepted, func(a bundle.Signer) bool { return same(a, s) }); i >= 0 {
		return o.accepted[i]
	}
	return s
}

// refuse says that a key would not be believed.
func (o opener) refuse(s bundle.Signer) error {
	return cli.WithHint(fmt.Errorf("%s %s is not one of the fleet's signers", cmp.Or(s.Name, "the key"), s.Fingerprint()),
		"the signers are "+tell(o.accepted))
}

// tell lists signers for a person.
func tell(all bundle.Signers) string {
	var list []string
	for _, s := range all {
		list = append(list, strings.TrimSpace(s.Name+" "+s.Fingerprint()))
	}
	return strings.Join(list, ", ")
}

// anywhere looks into the agent, and then beside the public keys of ~/.ssh.
func (o opener) anywhere() (*Key, error) {
	k, err := o.fromAgent("")
	if err == nil || !errors.Is(err, errNotThere) {
		return k, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	files, _ := filepath.Glob(filepath.Join(home, ".ssh", "*.pub")) // its only error is a bad pattern
	var found []string
	for _, file := range files {
		private := strings.TrimSuffix(file, ".pub")
		if s, err := readPublic(file); err == nil && o.takes(s) && isFile(private) {
			found = append(found, private)
		}
	}
	const choose = "--sign-with FILE, or --sign-with agent:COMMENT"
	switch {
	case len(found) == 1 || len(found) > 1 && len(o.accepted) > 0:
		return o.fromFile(found[0])
	case len(found) > 1:
		return nil, cli.WithHint(fmt.Errorf("%d keys could sign: %s", len(found), strings.Join(found, ", ")), choose)
	case len(o.accepted) > 0:
		return nil, cli.WithHint(errors.New("none of the fleet's signers' keys is here: "+tell(o.accepted)), "ssh-add FILE, or "+choose)
	}
	return nil, cli.WithHint(errors.New("no key to sign with"), "ssh-add FILE, or "+choose)
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}
