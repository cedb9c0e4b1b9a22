package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/signing"
)

// blocks are the commands of a section of README.md, as they stand there.
func blocks(t *testing.T, section string) []string {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "\n## "+section+"\n")
	if !found {
		t.Fatalf("README.md has no section %s", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var all []string
	for _, paragraph := range strings.Split(rest, "\n\n") {
		if strings.HasPrefix(paragraph, "    ") {
			all = append(all, strings.ReplaceAll(paragraph, "    ", "")+"\n")
		}
	}
	return all
}

// TestReadmeSigning does what the README says with ssh-keygen alone.
func TestReadmeSigning(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	commands := blocks(t, "Signing")
	if len(commands) != 2 {
		t.Fatalf("%d blocks: %q", len(commands), commands)
	}
	dir := t.TempDir()
	sh := func(script string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
		cmd.Dir = dir
		return cmd.CombinedOutput()
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	if out, err := sh("ssh-keygen -q -t ed25519 -N '' -C alice -f alice && sed 's/^/alice /' alice.pub > signers"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key, err := signing.Open(t.Context(), at("alice"), nil, cli.IO{})
	if err != nil {
		t.Fatal(err)
	}
	const text = "gateway = \"avocet-1\"\ngeneration = 15\n"
	ours, err := key.Sign(t.Context(), []byte(text), bundle.Config)
	if err != nil {
		t.Fatal(err)
	}
	write := func(raw []byte) {
		if err := os.WriteFile(at("avocet-1.bundle"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ours.Bytes())
	if out, err := sh(commands[0]); err != nil || !strings.Contains(string(out), `Good "ginnel-config" signature for alice`) {
		t.Errorf("verify: %v: %s", err, out)
	}
	write([]byte(strings.Replace(string(ours.Bytes()), "avocet", "bittern", 1)))
	if out, err := sh(commands[0]); err == nil {
		t.Errorf("an altered one: %s", out)
	}
	if err := os.WriteFile(at("text"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := sh("rm text.sig\n" + commands[1]); err != nil {
		t.Fatalf("sign: %v: %s", err, out)
	}
	raw, err := os.ReadFile(at("avocet-1.bundle"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := bundle.Parse(raw)
	if err != nil || string(theirs.Text) != text {
		t.Fatalf("%q, %v", theirs.Text, err)
	}
	if _, err := theirs.Verify(bundle.Config, bundle.Signers{key.By}); err != nil {
		t.Error(err)
	}
}
