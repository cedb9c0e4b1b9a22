package identity

import (
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func avocet(t *testing.T) Pack {
	t.Helper()
	return Pack{
		Site:      Site{ID: "avocet", Name: "Avocet \"Surgery\"", Postcode: "ZZ1 1AA", Gateway: "avocet-1", Networks: []string{"kestrel", "heron"}},
		Collector: []string{"https://collector.example.net:8443", "https://[2001:db8::5]:8443"}, CA: newCA(t).text(),
		Expires: time.Date(2026, 12, 4, 12, 0, 0, 0, time.UTC), Token: NewToken(), Secret: NewSecret(),
		Signers: []string{
			"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDzXo3d7cbZwGrSU1YY1569cUSjmdkjgmn+el1rjb1BT alice",
			"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPj44x8Z4H3Eu2EQK0IP+1UMIyE/PlH/4692ihycX9Ft bob",
		},
	}
}

func TestPackRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "avocet.toml")
	want := avocet(t)
	for range 2 { // a second write takes the first's place
		if err := WritePack(path, want); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	got, err := ReadPack(path)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b Token) bool { return a.Hash() == b.Hash() })
	alike := cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() })
	if d := cmp.Diff(want, got, same, alike); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := got.Usable(want.Expires); err != nil {
		t.Errorf("in time: %v", err)
	}
	if err := got.Usable(want.Expires.Add(time.Second)); !errors.Is(err, ErrPackExpired) {
		t.Errorf("late: %v", err)
	}
	if err := SpendPack(path); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{"token": want.Token.Reveal(), "secret": want.Secret.Reveal()} {
		if text, _ := os.ReadFile(path); strings.Contains(string(text), s) {
			t.Errorf("the %s is still in a spent pack", name)
		}
	}
	if got, err = ReadPack(path); err != nil || !errors.Is(got.Usable(want.Expires), ErrSpent) {
		t.Errorf("spent: %v", err)
	}
}

// Each mistake has a message with its place, a hint, and no secret in it.
func TestPackMistakes(t *testing.T) {
	p := avocet(t)
	good, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) string {
		t.Helper()
		if !strings.Contains(string(good), from) {
			t.Fatalf("%q is not in the pack:\n%s", from, good)
		}
		return strings.Replace(string(good), from, to, 1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"no pack", "<html>", "p.toml:1:1: not a site pack"},
		{"a config", "gateway = 'avocet-1'\n[[network]]\nname = 'kestrel'", "p.toml: not a site pack"},
		{"empty", "", "p.toml: version: 0, this ginnel reads 2"},
		{"newer", change("version = 2", "version = 3"), "p.toml: version: 3, this ginnel reads 2"},
		{"unknown key", change("version = 2", "version = 2\ncolour = 'red'"), "p.toml:5:1: colour: unknown key"},
		{"wrong type", change("gateway = 'avocet-1'", "gateway = 7"), "p.toml:8:11: gateway: wrong kind of value"},
		{"token cut off", change("-", ""), "" /* a dash less is the same token */},
		{"token of a word", strings.NewReplacer("token = '", "token = 'x").Replace(string(good)), "p.toml: token: it has 53 letters and digits, a token has 52"},
		{"http", change("https://collector", "http://collector"), `p.toml: collector[0]: "http://collector.example.net:8443" is not https://HOST[:PORT]`},
		{"a path", change("8443'", "8443/x?y'"), `p.toml: collector[0]: "https://collector.example.net:8443/x?y" has more than a host and a port`},
		{"no collector", change("collector = ['https://collector.example.net:8443', 'https://[2001:db8::5]:8443']", "collector = []"), "p.toml: collector: no URL"},
		{"name", change("'avocet-1'", "'../x'"), `p.toml: gateway: "../x" is not a name (a-z, 0-9 and - within, at most 63)`},
		{"two lines", change("'ZZ1 1AA'", `"ZZ1\n1AA"`), "p.toml: postcode: over 200 bytes, or not one line"},
		{"CA", change("BEGIN CERTIFICATE", "BEGIN PRIVATE KEY"), "p.toml: ca: it is not a PEM of certificates"},
		{"no secret", change("secret = '"+p.Secret.Reveal()+"'", "secret = ''"), "p.toml: token, secret: one is there without the other"},
		{"a token as secret", change("secret = '", "secret = '1"), "p.toml: secret: it has 53 letters and digits, a secret has 52"},
		{"a signer that is none", change(p.Signers[1], "bob"), "p.toml: signers[1] is not an OpenSSH public key"},
		{"one signer", change("\n  '"+p.Signers[1]+"'", ""), "p.toml: signers: one only, at least two are wanted"},
		{"a signer twice", change(p.Signers[1], p.Signers[0]), "p.toml: signers[1]: it is there twice"},
		{"no expiry", change("expires = 2026-12-04T12:00:00Z\n", ""), "p.toml: expires: it is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePack("p.toml", []byte(tt.text))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || err.Error() != tt.want {
				t.Fatalf("got  %v\nwant %s", err, tt.want)
			}
			if f, ok := errors.AsType[*Fault](err); !ok || f.Hint() == "" {
				t.Error("no hint")
			}
		})
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, maxPack+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPack(big); err == nil || !strings.Contains(err.Error(), "too many for a site pack") {
		t.Errorf("a huge file: %v", err)
	}
	if err := WritePack(big, Pack{}); err == nil {
		t.Error("an empty pack was written")
	}
}

func TestToken(t *testing.T) {
	a := NewToken()
	text := a.Reveal()
	if len(text) != 52+12 || strings.Count(text, "-") != 12 {
		t.Errorf("a token of %d characters", len(text))
	}
	for _, same := range []string{text, strings.ToLower(text), strings.ReplaceAll(text, "-", ""), " " + strings.ReplaceAll(text, "-", " ") + " "} {
		if b, err := ParseToken(same); err != nil || b.Hash() != a.Hash() {
			t.Errorf("another spelling is another token: %v", err)
		}
	}
	if NewToken().Hash() == a.Hash() || a.Hash() == (Token{}).Hash() {
		t.Error("two tokens are one")
	}
	bad := strings.ReplaceAll(text, "-", "")
	for _, text := range []string{"", "-", bad[1:], bad[1:] + "1", bad[:51] + "B", bad + "A"} {
		_, err := ParseToken(text)
		if err == nil || len(text) > 1 && strings.Contains(err.Error(), text) {
			t.Errorf("%d characters: %v", len(text), err)
		}
	}
}

// No way of printing shows a secret: not by itself, and not inside of others,
// where fmt cannot call methods.
func TestSecretsCannotBePrinted(t *testing.T) {
	p := avocet(t)
	id, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Prepare(); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(id.path(keyFile))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		token  Token
		secret Secret
		pack   Pack
		id     *Identity
	}
	h := holder{p.Token, p.Secret, p, id}
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	plain := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{p.Token, &p.Token, p.Secret, &p.Secret, p, &p, h, &h, id} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("x", "v", v)
		plain.Info("x", "v", v)
	}
	b, c := p.Token.bytes(), p.Secret.bytes()
	scalar, err := id.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{p.Secret.Reveal()[:9], fmt.Sprintf("%x", c[:4]), fmt.Sprint(c[:3]), p.Token.Reveal(), p.Token.Reveal()[:9], fmt.Sprintf("%x", b[:4]), fmt.Sprint(b[:3]), fmt.Sprintf("%x", scalar), new(big.Int).SetBytes(scalar).String(), strings.Split(string(key), "\n")[1][:20]}
	for i, s := range secrets {
		if s = strings.Trim(s, "[]"); strings.Contains(out.String(), s) {
			at := strings.Index(out.String(), s)
			t.Errorf("secret %d was printed: ...%s", i, out.String()[max(0, at-60):min(at+40, out.Len())])
		}
	}
}

func FuzzParsePack(f *testing.F) {
	f.Add([]byte("version = 1\ntoken = 'x'\n"))
	f.Add([]byte("version = 1\nsite = 'avocet'\nexpires = 2026-12-04T12:00:00Z\ncollector = ['https://x']\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePack("p", text)
		if err != nil {
			return
		}
		again, err := p.Text()
		if err != nil {
			t.Fatalf("read, but cannot be written: %v", err)
		}
		if _, err := ParsePack("p", again); err != nil {
			t.Fatalf("written, but cannot be read: %v\n%s", err, again)
		}
	})
}
