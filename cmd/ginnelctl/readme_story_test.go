package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels/key"
)

// TestReadmeStory does at the desk, word for word, what the README tells of a
// fleet's life; the gateways and the collector are those of the bench.
func TestReadmeStory(t *testing.T) {
	story := blocks(t, "The whole story")
	b := newDesk(t)
	b.atHome()
	// What does not end with 0, and what must be said.
	codes := map[string]int{"ginnelctl plan": 2, "ginnelctl plan --out fulmar.plan": 2, "ginnelctl plan --gateway fulmar-1": 2}
	breaking := false
	said := map[string]string{}
	for _, block := range story {
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case strings.HasPrefix(line, "sudo ginnel enrol "):
				b.enrolPack(strings.TrimPrefix(line, "sudo ginnel enrol "))
				continue
			case strings.HasPrefix(line, "sudo ginnel apply "):
				b.dir = filepath.Join(os.Getenv("HOME"), "county")
				b.isFor(strings.TrimPrefix(line, "sudo ginnel apply "), "avocet-1", 6, 2)
				continue
			case strings.HasPrefix(line, "cd "):
				t.Chdir(strings.TrimPrefix(line, "cd "))
				continue
			case !strings.HasPrefix(line, "ginnelctl "):
				breaking = breaking || strings.Contains(line, nowhere)
				if out, err := exec.CommandContext(t.Context(), "sh", "-e", "-c", line).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", line, err, out)
				}
				continue
			}
			want := codes[line]
			if breaking && (line == "ginnelctl push" || line == "ginnelctl rollout status") {
				want = stopped
			}
			if line == "ginnelctl rollout back" {
				breaking = false
				codes["ginnelctl plan"] = 0 // mended: nothing is to do
			}
			out, code := b.typed(line)
			if code != want {
				t.Fatalf("%s: exit %d, want %d:\n%s", line, code, want, out)
			}
			said[line] += out
		}
	}
	for line, words := range map[string]string{
		"ginnelctl plan":                    "  + kestrel, lan 192.168.10.0/24 ",
		"ginnelctl plan --out fulmar.plan":  "  ~ peers: + fulmar-1 ",
		"ginnelctl rollout status":          "avocet-1   failed, and went back: records was good and is dead",
		"ginnelctl keys approve avocet-1":   "Approved: 2 rows in keys.csv",
		"ginnelctl push":                    "  + check names on kestrel ",
		"ginnelctl push fulmar.plan":        "rollout 1 is done",
		"ginnelctl plan --gateway fulmar-1": "generation 1 over nothing",
	} {
		if !strings.Contains(said[line], words) {
			t.Errorf("%s: %q is not in\n%s", line, words, said[line])
		}
	}
	if c := b.said["avocet-1"]; c.Running.Hash != c.Desired.Hash || b.lists != 1 {
		t.Errorf("at the end avocet-1 runs %+v of %+v, and %d lists are in force", c.Running, c.Desired, b.lists)
	}
}

// atHome makes an operator's home, with a key for ssh and a colleague's public one.
func (b *bench) atHome() {
	b.t.Helper()
	home := b.t.TempDir()
	b.t.(*testing.T).Setenv("HOME", home)
	b.t.(*testing.T).Chdir(home)
	_, bob := operatorKey(b.t, "bob")
	for name, text := range map[string]string{".ssh/id_ed25519.pub": b.pub.String() + "\n", "bob.pub": bob.String() + "\n",
		".gitconfig": "[user]\nname = Sam\nemail = sam@example.net\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o700); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := os.Rename(b.key, filepath.Join(home, ".ssh/id_ed25519")); err != nil {
		b.t.Fatal(err)
	}
}

// typed runs a line of the README as a shell would, and says yes.
func (b *bench) typed(line string) (out string, code int) {
	b.t.Helper()
	raw, err := exec.CommandContext(b.t.Context(), "sh", "-c", "printf '%s\\n' "+strings.TrimPrefix(line, "ginnelctl ")).Output()
	if err != nil {
		b.t.Fatal(err)
	}
	var o bytes.Buffer
	args := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	code = run(b.t.Context(), args, cli.IO{In: strings.NewReader("y\n"), Out: &o, Err: &o})
	return o.String(), code
}

// enrolPack is what the gateway does with a pack, and what the centre learns.
func (b *bench) enrolPack(file string) {
	b.t.Helper()
	pack, err := identity.ReadPack(file)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(pack.Signers) != 2 {
		b.t.Errorf("%s: %d signers", file, len(pack.Signers))
	}
	id, err := identity.Open(b.t.TempDir())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := id.Prepare(); err != nil {
		b.t.Fatal(err)
	}
	keys := map[string]key.Public{}
	for _, n := range pack.Site.Networks {
		keys[n] = key.NewPrivate().Public()
	}
	p, err := id.Prove(pack.Site.Gateway, keys, pack.Secret)
	if err != nil {
		b.t.Fatal(err)
	}
	b.arrived(pack.Site.Gateway, pack.Site.ID, p)
	if n := slices.Sorted(maps.Keys(b.said)); len(n) == 0 {
		b.t.Error("nobody is enrolled")
	}
}
