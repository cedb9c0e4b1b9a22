package bundle_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

var whole = &bundle.DenyList{Number: 7, Denials: []bundle.Denial{
	{Kind: bundle.Revoke, Gateways: []string{"fulmar-1"}, Keys: []string{"OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="},
		Device: strings.Repeat("0f", 32), Site: "fulmar", Why: "stolen, job 4471: \"the lot\" \\ caf\u00e9 \U0001F426",
		By: "alice", At: time.Date(2026, 11, 20, 16, 41, 0, 0, time.UTC)},
	{Kind: bundle.Isolate, Gateways: []string{"avocet-1", "egret-2"}, Site: "avocet"},
	{Kind: bundle.Isolate, Organisation: "Heron Hospitals (invented)", Networks: []string{"heron"}},
}}

const wholeText = `# What is shut out of the virtual networks, all of it.
number = 7

[[deny]]
kind = "revoke"
gateways = ["fulmar-1"]
keys = ["OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="]
device = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"
site = "fulmar"
why = "stolen, job 4471: \"the lot\" \\ caf\u00e9 \U0001f426"
by = "alice"
at = 2026-11-20T16:41:00Z

[[deny]]
kind = "isolate"
gateways = ["avocet-1", "egret-2"]
site = "avocet"

[[deny]]
kind = "isolate"
organisation = "Heron Hospitals (invented)"
networks = ["heron"]
`

func TestListAsText(t *testing.T) {
	if d := cmp.Diff(wholeText, whole.Format()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	back, err := bundle.ParseList("list", []byte(wholeText))
	if d := cmp.Diff(whole, back); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestBadLists(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "list: number: 0 is not between 1 and 9223372036854775807",
		"number = -1\n":                "list:1:10: number is not as a list has it",
		"number = \"7\"\n":             "list:1:10: number is not as a list has it",
		"number = 7\nnumbr = 8\nx=1\n": "list:2:1: numbr: unknown key\nlist:3:1: x: unknown key",
		"number = 7\n[[deny]]\n":       `list: deny[0].kind: "" is neither revoke nor isolate`,
		"number = 7\n[[deny":           "list:2:6: this is not as a list has it",
		"number = 7\n[[deny]]\nkind=\"revoke\"\nnetworks=[\"heron\"]\n": "list: deny[0].gateways: nobody is revoked\n" +
			"deny[0].networks: a network can be isolated, not revoked",
		"number = 7\n[[deny]]\nkind=\"isolate\"\ndevice=\"0f\"\n": "list: deny[0].gateways: nobody is isolated\n" +
			"deny[0].keys: who is isolated is named by gateway or network\ndeny[0].device: not a SHA-256 in hex",
		"number = 7\n[[deny]]\nkind=\"revoke\"\ngateways=[\"Fulmar 1\"]\nkeys=[\"AAAA\"]\nwhy=\"a\\nb\"\n": "list: deny[0].gateways[0]: \"Fulmar 1\" is not a name\n" +
			"deny[0].keys[0]: not a public WireGuard key\ndeny[0].why: over 500 bytes, or not one line",
		// Bits beyond the key, and a line feed: no hub has its peers' keys so.
		"number = 7\n[[deny]]\nkind=\"revoke\"\ngateways=[\"fulmar-1\"]\nkeys=[\"OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll9=\", \"OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8=\\n\"]\n": "list: deny[0].keys[0]: not a public WireGuard key\n" +
			"deny[0].keys[1]: not a public WireGuard key",
	} {
		if _, err := bundle.ParseList("list", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
	long := []byte("number = 7\n#" + strings.Repeat("x", bundle.MaxList))
	if _, err := bundle.ParseList("list", long); !errors.Is(err, bundle.ErrTooLarge) {
		t.Errorf("a long one: %v", err)
	}
}

func TestNextList(t *testing.T) {
	var none *bundle.DenyList
	first := none.Next(nil, whole.Denials[0])
	second := first.Next(nil, whole.Denials[1])
	third := second.Next(func(d bundle.Denial) bool { return d.Kind == bundle.Isolate })
	if first.Number != 1 || second.Number != 2 || len(second.Denials) != 2 || third.Number != 3 || len(third.Denials) != 1 {
		t.Errorf("%+v\n%+v\n%+v", first, second, third)
	}
	if whole.Revoked(strings.Repeat("0f", 32)) == nil || whole.Revoked("") != nil || none.Revoked("0f") != nil {
		t.Error("revoked devices")
	}
}

// FuzzParseList holds what was read to what is written of it.
func FuzzParseList(f *testing.F) {
	f.Add([]byte(wholeText))
	f.Add([]byte("number = 7\n[[deny]]\nkind = \"isolate\"\nnetworks = ['heron']\nwhy = '''x'''\nat = 2026-11-20\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := bundle.ParseList("list", text)
		if err != nil {
			return
		}
		again, err := bundle.ParseList("list", []byte(l.Format()))
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, l.Format())
		}
		if a, b := l.Format(), again.Format(); a != b {
			t.Errorf("written twice is not once:\n%s\n%s", a, b)
		}
	})
}

// FuzzParse holds a bundle's parts to its whole, and none of them to a panic.
func FuzzParse(f *testing.F) {
	b, err := bundle.Sign([]byte("gateway = \"avocet-1\"\n"), bundle.Config, signer(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(append(b.Bytes(), b.Bytes()...))
	f.Add([]byte("x\n-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"))
	accepted := bundle.Signers{{Key: signer(f).PublicKey()}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := bundle.Parse(raw)
		if err != nil {
			return
		}
		if string(b.Bytes()) != string(raw) || !strings.HasSuffix(string(b.Text), "\n") {
			t.Errorf("the parts are not the whole: %q, %q", b.Text, b.Signature)
		}
		if _, err := b.Verify(bundle.Config, accepted); err == nil {
			t.Error("signed by a key that nobody has")
		}
	})
}
