package bundle_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

func TestWhatIsSignedIsVerified(t *testing.T) {
	mine, other := signer(t), signer(t)
	b, err := bundle.Sign([]byte("gateway = \"avocet-1\"\n"), bundle.Config, mine)
	if err != nil {
		t.Fatal(err)
	}
	back, err := bundle.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	accepted := bundle.Signers{{Name: "alice", Key: mine.PublicKey()}}
	if by, err := back.Verify(bundle.Config, accepted); err != nil || by.Name != "alice" {
		t.Fatalf("Verify: %q, %v", by.Name, err)
	}
	altered := back
	altered.Text = []byte("gateway = \"bittern-1\"\n")
	for name, c := range map[string]struct {
		b         bundle.Bundle
		namespace string
		signers   bundle.Signers
		want      error
	}{
		"another namespace": {back, bundle.List, accepted, bundle.ErrPurpose},
		"another signer":    {back, bundle.Config, bundle.Signers{{Key: other.PublicKey()}}, bundle.ErrSigner},
		"another text":      {altered, bundle.Config, accepted, bundle.ErrAltered},
	} {
		if _, err := c.b.Verify(c.namespace, c.signers); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func signer(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
