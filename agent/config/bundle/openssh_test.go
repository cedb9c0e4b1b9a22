package bundle_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

const text = "gateway = \"avocet-1\"\ngeneration = 15\n"

// keygen runs ssh-keygen in a folder, with text as its input.
func keygen(t *testing.T, dir string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ssh-keygen", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("ssh-keygen %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.WriteFile(file, []byte(text), 0o600))
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	must(t, err)
	return raw
}

// accepts asks ssh-keygen whether it accepts a bundle of ours.
func accepts(t *testing.T, b bundle.Bundle, by ssh.PublicKey, namespace string) bool {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "signers"), "alice "+bundle.Signer{Key: by}.String()+"\n")
	write(t, filepath.Join(dir, "sig"), string(b.Signature))
	return keygen(t, dir, "-Y", "verify", "-f", "signers", "-I", "alice", "-n", namespace, "-s", "sig") == nil
}

// What OpenSSH signs we accept, and OpenSSH accepts what we sign.
func TestOpenSSHAndWeAgree(t *testing.T) {
	for name, kind := range map[string][]string{
		"ed25519":   {"-t", "ed25519"},
		"ecdsa-256": {"-t", "ecdsa", "-b", "256"},
		"ecdsa-384": {"-t", "ecdsa", "-b", "384"},
		"ecdsa-521": {"-t", "ecdsa", "-b", "521"},
		"rsa-2048":  {"-t", "rsa", "-b", "2048"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, keygen(t, dir, append(kind, "-q", "-N", "", "-C", "alice", "-f", "key")...))
			who, err := bundle.ParseSigner(string(read(t, filepath.Join(dir, "key.pub"))))
			must(t, err)
			for _, hash := range []string{"sha512", "sha256"} {
				write(t, filepath.Join(dir, "text"), text)
				must(t, keygen(t, dir, "-Y", "sign", "-f", "key", "-n", bundle.Config, "-O", "hashalg="+hash, "text"))
				theirs, err := bundle.Parse([]byte(text + string(read(t, filepath.Join(dir, "text.sig")))))
				must(t, err)
				must(t, os.Remove(filepath.Join(dir, "text.sig")))
				if by, err := theirs.Verify(bundle.Config, bundle.Signers{who}); err != nil || by.Name != "alice" {
					t.Errorf("we refuse what ssh-keygen signed with %s: %v", hash, err)
				}
			}
			private, err := ssh.ParsePrivateKey(read(t, filepath.Join(dir, "key")))
			must(t, err)
			ours, err := bundle.Sign([]byte(text), bundle.Config, private)
			must(t, err)
			if !accepts(t, ours, who.Key, bundle.Config) {
				t.Error("ssh-keygen refuses what we signed")
			}
			if accepts(t, ours, who.Key, bundle.List) {
				t.Error("ssh-keygen accepts it for another purpose")
			}
			if accepts(t, ours, signer(t).PublicKey(), bundle.Config) {
				t.Error("ssh-keygen accepts it by another key")
			}
		})
	}
}

// securityKey is a FIDO key made of software: what ssh-sk-helper would give.
type securityKey struct {
	private ed25519.PrivateKey
	public  ssh.PublicKey
	touched bool
}

const application = "ssh:"

func newSecurityKey(t *testing.T, touched bool) securityKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	wire := ssh.Marshal(struct {
		Kind        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, application})
	key, err := ssh.ParsePublicKey(wire)
	must(t, err)
	return securityKey{private, key, touched}
}

func (k securityKey) PublicKey() ssh.PublicKey { return k.public }

// Sign is what PROTOCOL.u2f says of a signature.
func (k securityKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	flags := byte(0)
	if k.touched {
		flags = 1
	}
	rest := binary.BigEndian.AppendUint32([]byte{flags}, 7)
	app, message := sha256.Sum256([]byte(application)), sha256.Sum256(data)
	signed := append(append(app[:], rest...), message[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.private, signed), Rest: rest}, nil
}

// A signature of a FIDO key counts where its owner touched it.
func TestSecurityKeys(t *testing.T) {
	for _, touched := range []bool{true, false} {
		key := newSecurityKey(t, touched)
		b, err := bundle.Sign([]byte(text), bundle.Config, key)
		must(t, err)
		back, err := bundle.Parse(b.Bytes())
		must(t, err)
		who, err := bundle.ParseSigner(bundle.Signer{Name: "alice", Key: key.public}.String())
		must(t, err)
		if _, err := back.Verify(bundle.Config, bundle.Signers{who}); (err == nil) != touched {
			t.Errorf("touched %v: %v", touched, err)
		}
		if touched && !accepts(t, back, key.public, bundle.Config) {
			t.Error("ssh-keygen refuses it")
		}
	}
}

// sha1 is an RSA key that signs as ssh did before 2021.
type sha1 struct{ ssh.AlgorithmSigner }

func (k sha1) SignWithAlgorithm(r io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	return k.AlgorithmSigner.SignWithAlgorithm(r, data, ssh.KeyAlgoRSA)
}

// SHA-1 proves nothing (PROTOCOL.sshsig: rsa-sha2 only), whoever the signer is.
func TestRSAWithSHA1(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	s, err := ssh.NewSignerFromKey(private)
	must(t, err)
	who := bundle.Signer{Name: "alice", Key: s.PublicKey()}
	for hash, s := range map[string]ssh.Signer{"SHA-512": s, "SHA-1": sha1{s.(ssh.AlgorithmSigner)}} {
		b, err := bundle.Sign([]byte(text), bundle.Config, s)
		must(t, err)
		if _, err := b.Verify(bundle.Config, bundle.Signers{who}); (err == nil) != (hash == "SHA-512") {
			t.Errorf("%s: %v", hash, err)
		}
		if accepts(t, b, who.Key, bundle.Config) != (hash == "SHA-512") {
			t.Errorf("%s: ssh-keygen says something else", hash)
		}
	}
}
