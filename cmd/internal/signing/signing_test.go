package signing

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const text = "gateway = \"avocet-1\"\ngeneration = 15\n"

// run runs a program of OpenSSH.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// newKey has ssh-keygen make a key, and gives its file.
func newKey(t *testing.T, name, passphrase string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	run(t, "ssh-keygen", append(args, "-q", "-N", passphrase, "-C", name, "-f", file)...)
	return file
}

func public(t *testing.T, file string) bundle.Signer {
	t.Helper()
	s, err := readPublic(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// alone has no agent and nothing in ~/.ssh.
func alone(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SSH_AUTH_SOCK", "")
	return home
}

// startAgent starts an ssh-agent with keys in it.
func startAgent(t *testing.T, files ...string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	cmd := exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed, and says so
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("ssh-agent does not come up")
		}
	}
	t.Setenv("SSH_AUTH_SOCK", socket)
	for _, f := range files {
		run(t, "ssh-add", "-q", f)
	}
}

// signs opens a key and holds what it signs to its public half.
func signs(t *testing.T, where string, accepted bundle.Signers, in *os.File, want bundle.Signer) *Key {
	t.Helper()
	k, err := Open(t.Context(), where, accepted, cli.IO{In: in, Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
	if err != nil {
		t.Fatalf("%q: %v", where, err)
	}
	b, err := k.Sign(t.Context(), []byte(text), bundle.Config)
	if err != nil {
		t.Fatalf("%q: %v", where, err)
	}
	if by, err := b.Verify(bundle.Config, bundle.Signers{want}); err != nil || k.By.Name != want.Name || string(b.Text) != text {
		t.Errorf("%q: signed by %q (%s), want %s: %v", where, k.By.Name, by.Fingerprint(), want.Name, err)
	}
	return k
}

// refused opens a key and wants an error and a hint with these words in them.
func refused(t *testing.T, where string, accepted bundle.Signers, message, hint string) error {
	t.Helper()
	_, err := Open(t.Context(), where, accepted, cli.IO{In: strings.NewReader("secret\n"), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
	if err == nil {
		t.Fatalf("%q: opened", where)
	}
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(err.Error(), message) || !strings.Contains(h.Hint(), hint) {
		t.Errorf("%q: %v, want %q and the hint %q", where, err, message, hint)
	}
	return err
}

func TestKeysInAnAgent(t *testing.T) {
	alone(t)
	aliceFile, bobFile := newKey(t, "alice", "secret", "-t", "ed25519"), newKey(t, "bob", "", "-t", "rsa", "-b", "2048")
	plain := newKey(t, "carol", "", "-t", "ecdsa")
	alice, bob, carol := public(t, aliceFile), public(t, bobFile), public(t, plain)
	startAgent(t, bobFile, plain)
	for where, c := range map[string]struct {
		accepted bundle.Signers
		want     bundle.Signer
	}{
		"agent":          {bundle.Signers{alice, carol}, carol},
		"":               {bundle.Signers{alice, bob}, bob},
		"agent:carol":    {nil, carol},
		bobFile + ".pub": {nil, bob},
		bobFile:          {bundle.Signers{bob, alice}, bob},
	} {
		if k := signs(t, where, c.accepted, nil, c.want); k.Where != "the ssh-agent" {
			t.Errorf("%q: from %s", where, k.Where)
		}
	}
	refused(t, "", nil, "2 keys of the ssh-agent could sign: bob SHA256:", "--sign-with FILE.pub names one")
	refused(t, "agent:dave", nil, "not in the ssh-agent: no key \"dave\"", "there is bob SHA256:")
	refused(t, "agent:carol", bundle.Signers{alice}, "carol SHA256:", "the signers are alice SHA256:")
	refused(t, "agent", bundle.Signers{alice}, "no key that a gateway would believe", "ssh-add FILE")
	refused(t, "", bundle.Signers{alice}, "none of the fleet's signers' keys is here: alice SHA256:", "ssh-add FILE")
	// The private key's file needs its passphrase, and there is no terminal.
	refused(t, aliceFile, nil, "has a passphrase, and there is no terminal", "ssh-add "+aliceFile)

	k := signs(t, "agent:carol", nil, nil, carol)
	run(t, "ssh-add", "-q", "-D")
	if _, err := k.Sign(t.Context(), []byte(text), bundle.Config); !errors.Is(err, errNotThere) {
		t.Errorf("after ssh-add -D: %v", err)
	}
}

// A key that is to be confirmed by somebody who does not is an error with a way out.
func TestAgentRefuses(t *testing.T) {
	alone(t)
	file := newKey(t, "alice", "", "-t", "ed25519")
	t.Setenv("SSH_ASKPASS", "/bin/false")
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	startAgent(t)
	run(t, "ssh-add", "-q", "-c", file)
	k, err := Open(t.Context(), "agent", nil, cli.IO{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Sign(t.Context(), []byte(text), bundle.Config)
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(err.Error(), "the ssh-agent refused to sign") {
		t.Errorf("not confirmed: %v", err)
	}
}

func TestKeysInFiles(t *testing.T) {
	home := alone(t)
	for name, args := range map[string][]string{
		"ed25519": {"-t", "ed25519"}, "ecdsa": {"-t", "ecdsa", "-b", "384"}, "rsa": {"-t", "rsa", "-b", "2048"},
		"pem": {"-t", "rsa", "-b", "2048", "-m", "PEM"},
	} {
		file := newKey(t, name, "", args...)
		who := public(t, file)
		signs(t, file, nil, nil, who)
		signs(t, file+".pub", bundle.Signers{who}, nil, who)
		if err := os.Remove(file + ".pub"); err != nil {
			t.Fatal(err)
		}
		signs(t, file, bundle.Signers{who}, nil, who)
	}
	alice, bob := newKey(t, "alice", "", "-t", "ed25519"), newKey(t, "bob", "", "-t", "ed25519")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{alice: "id_ed25519", bob: "id_work"} {
		for _, half := range []string{"", ".pub"} {
			if err := os.Link(from+half, filepath.Join(home, ".ssh", to+half)); err != nil {
				t.Fatal(err)
			}
		}
	}
	signs(t, "", bundle.Signers{public(t, bob)}, nil, public(t, bob))
	refused(t, "", nil, "2 keys could sign: ", "--sign-with FILE")
	refused(t, alice, bundle.Signers{public(t, bob)}, "alice SHA256:", "the signers are bob")
	if err := os.Remove(alice); err != nil {
		t.Fatal(err)
	}
	refused(t, alice+".pub", nil, "the private half of "+alice+".pub is neither", "ssh-add FILE")
	junk := filepath.Join(home, "junk")
	if err := os.WriteFile(junk, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, junk, nil, "not an OpenSSH public key", "as ssh-keygen made it")
	weak := newKey(t, "weak", "", "-t", "rsa", "-b", "1024")
	refused(t, weak, nil, "an RSA key of 1024 bits", "as ssh-keygen made it")
}

// A wrong passphrase is asked for again, and none is shown.
func TestPassphraseOnATerminal(t *testing.T) {
	alone(t)
	file := newKey(t, "alice", "correct horse", "-t", "ed25519")
	operator, terminal := openTerminal(t)
	go operator.WriteString("wrong\ncorrect horse\n")
	signs(t, file, nil, terminal, public(t, file))
	go operator.WriteString("a\nb\nc\n")
	_, err := Open(t.Context(), file, nil, cli.IO{In: terminal, Err: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "the passphrase was wrong 3 times") {
		t.Errorf("three wrong ones: %v", err)
	}
}

// ssh-keygen signs for a key whose file is no more than a handle.
func TestKeysOfSSHKeygen(t *testing.T) {
	alone(t)
	file := newKey(t, "alice", "", "-t", "ed25519")
	k := keygenKey(public(t, file), file, cli.IO{Err: &bytes.Buffer{}})
	b, err := k.Sign(t.Context(), []byte(text), bundle.List)
	if err != nil || string(b.Text) != text {
		t.Fatal(err)
	}
	if _, err := b.Verify(bundle.List, bundle.Signers{public(t, file)}); err != nil {
		t.Error(err)
	}
	// What another key signed is not given on.
	if _, err := keygenKey(public(t, newKey(t, "bob", "", "-t", "ed25519")), file, cli.IO{Err: &bytes.Buffer{}}).Sign(t.Context(), []byte(text), bundle.List); !errors.Is(err, bundle.ErrSigner) {
		t.Errorf("another key: %v", err)
	}
	// A FIDO key goes the same way. There is no token here, and that is told.
	handle := filepath.Join(t.TempDir(), "id_ed25519_sk")
	if err := os.WriteFile(handle, securityKeyFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	fido, err := Open(t.Context(), handle, nil, cli.IO{Err: &bytes.Buffer{}})
	if err != nil || !fido.Touched() || fido.Where != handle {
		t.Fatalf("%+v, %v", fido, err)
	}
	_, err = fido.Sign(t.Context(), []byte(text), bundle.Config)
	var h interface{ Hint() string }
	if !errors.As(err, &h) || !strings.Contains(err.Error(), "ssh-keygen did not sign: ") || !strings.Contains(h.Hint(), "is the token plugged in?") {
		t.Errorf("without a token: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := fido.Sign(t.Context(), []byte(text), bundle.Config); err == nil || !strings.Contains(err.Error(), "ssh-keygen is not here") {
		t.Errorf("without ssh-keygen: %v", err)
	}
}

// securityKeyFile is a file as `ssh-keygen -t ed25519-sk` makes it
// (PROTOCOL.key, PROTOCOL.u2f), of a token that nobody has.
func securityKeyFile(t *testing.T) []byte {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := struct {
		Kind        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, key, "ssh:"}
	private := ssh.Marshal(struct {
		Check1, Check2 uint32
		Kind           string
		Key            []byte
		Application    string
		Flags          byte
		Handle         []byte
		Reserved       string
		Comment        string
	}{7, 7, public.Kind, key, "ssh:", 1, make([]byte, 64), "", "alice"})
	for i := byte(1); len(private)%8 != 0; i++ {
		private = append(private, i)
	}
	whole := append([]byte("openssh-key-v1\x00"), ssh.Marshal(struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public, Private      []byte
	}{"none", "none", "", 1, ssh.Marshal(public), private})...)
	return pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: whole})
}
