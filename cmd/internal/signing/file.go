package signing

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// maxFile bounds what is read as a key, in bytes.
const maxFile = 64 << 10

// readFile reads a file that could be a key.
func readFile(path string) ([]byte, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes are too many for a key", path, st.Size())
	}
	return os.ReadFile(path)
}

// readPublic reads a .pub file.
func readPublic(path string) (bundle.Signer, error) {
	text, err := readFile(path)
	if err != nil {
		return bundle.Signer{}, err
	}
	s, err := bundle.ParseSigner(strings.TrimSpace(string(text)))
	if err != nil {
		return s, fmt.Errorf("%s is %w", path, err)
	}
	return s, nil
}

// fromFile takes the key of a file, private or public.
func (o opener) fromFile(path string) (*Key, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("key to sign with: %w", err)
	}
	block, _ := pem.Decode(text)
	private := path
	var who bundle.Signer
	switch {
	case block == nil: // a public key
		if who, err = readPublic(path); err != nil {
			return nil, cli.WithHint(fmt.Errorf("key to sign with: %w", err), "a file as ssh-keygen made it, private or public")
		}
		private = strings.TrimSuffix(path, ".pub")
	default:
		if who, err = publicHalf(path, text, block); err != nil {
			return nil, cli.WithHint(err, "a file as ssh-keygen made it, private or public")
		}
	}
	if !o.takes(who) {
		return nil, o.refuse(who)
	}
	who = o.named(who)
	// The agent first, as ssh does: it asks for no passphrase.
	if all, err := InAgent(o.ctx); err == nil {
		for _, s := range all {
			if same(s, who) {
				return agentKey(who), nil
			}
		}
	}
	switch {
	case private == path && block == nil, !isFile(private):
		return nil, cli.WithHint(fmt.Errorf("the private half of %s is neither in the ssh-agent nor beside it", path), "ssh-add FILE")
	case strings.HasPrefix(who.Key.Type(), "sk-"):
		return keygenKey(who, private, o.std), nil
	}
	with, err := o.unlock(private)
	if err != nil {
		return nil, err
	}
	return &Key{By: who, Where: private, sign: func(_ context.Context, text []byte, namespace string) (bundle.Bundle, error) {
		return bundle.Sign(text, namespace, with)
	}}, nil
}

// publicHalf is what a private key's file says of itself without a passphrase,
// or what the file beside it says.
func publicHalf(path string, text []byte, block *pem.Block) (bundle.Signer, error) {
	if beside, err := readPublic(path + ".pub"); err == nil {
		return beside, nil
	}
	var public ssh.PublicKey
	with, err := ssh.ParsePrivateKey(text)
	missing, locked := errors.AsType[*ssh.PassphraseMissingError](err)
	switch {
	case err == nil:
		public = with.PublicKey()
	case locked && missing.PublicKey != nil:
		public = missing.PublicKey
	default:
		if public, err = head(block); err != nil {
			return bundle.Signer{}, fmt.Errorf("%s: not a private key that we know", path)
		}
	}
	s, err := bundle.ParseSigner(bundle.Signer{Key: public}.String())
	if err != nil {
		return s, fmt.Errorf("%s is %w", path, err)
	}
	return s, nil
}

// head reads the public key at the beginning of OpenSSH's format of private
// keys (PROTOCOL.key), which is never encrypted.
func head(block *pem.Block) (ssh.PublicKey, error) {
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok {
		return nil, errors.New("not OpenSSH's format")
	}
	var h struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public               []byte
		Rest                 []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(rest, &h); err != nil {
		return nil, err
	}
	return ssh.ParsePublicKey(h.Public)
}

// tries is how often a passphrase is asked for.
const tries = 3

// unlock reads a private key; its passphrase is asked for, if it has one.
func (o opener) unlock(path string) (ssh.Signer, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("key to sign with: %w", err)
	}
	with, err := ssh.ParsePrivateKey(text)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); !locked {
		if err != nil {
			return nil, fmt.Errorf("%s: not a private key that we know", path)
		}
		return with, nil
	}
	for range tries {
		secret, err := o.passphrase(path)
		if err != nil {
			return nil, err
		}
		with, err := ssh.ParsePrivateKeyWithPassphrase(text, secret)
		clear(secret)
		switch {
		case err == nil:
			return with, nil
		case !errors.Is(err, x509.IncorrectPasswordError):
			return nil, fmt.Errorf("%s: not a private key that we know", path)
		}
		fmt.Fprintln(o.std.Err, "That is not the passphrase.")
	}
	return nil, fmt.Errorf("%s: the passphrase was wrong %d times", path, tries)
}

// passphrase asks on the terminal, without showing what is typed.
func (o opener) passphrase(path string) ([]byte, error) {
	in, ok := o.std.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, cli.WithHint(fmt.Errorf("%s has a passphrase, and there is no terminal to ask for it", path), "ssh-add "+path)
	}
	fmt.Fprintf(o.std.Err, "Passphrase of %s: ", path)
	secret, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(o.std.Err)
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	return secret, nil
}
