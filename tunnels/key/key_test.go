package key

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// RFC 7748, section 6.1: Alice's and Bob's pairs.
func TestPublicOfPrivate(t *testing.T) {
	for private, public := range map[string]string{
		"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
		"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
	} {
		p, err := ParsePrivate(private)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Public().String(); got != public {
			t.Errorf("public half is %s, want %s", got, public)
		}
	}
	if got := (Private{}).Public(); !got.IsZero() {
		t.Errorf("no private key has the public half %v", got)
	}
}

func TestPrivateIsClamped(t *testing.T) {
	for range 50 {
		if k := NewPrivate().Bytes(); k[0]&7 != 0 || k[31]&192 != 64 {
			t.Fatalf("first byte %08b, last byte %08b", k[0], k[31])
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	good := strings.Repeat("A", 42) + "E="
	for _, c := range []struct{ text, want string }{
		{"", "not a WireGuard key: it is empty"},
		{good + "\n", "not a WireGuard key: it has white space in it"},
		{good[:43], "not a WireGuard key: it has 43 characters, a key has 44"},
		{"OYqD!" + good[5:], "not a WireGuard key: character 5 cannot stand there in base64"},
		{strings.Repeat("A", 42) + "F=", "not a WireGuard key: its last character has bits beyond 32 bytes"},
		{strings.Repeat("A", 44), "not a WireGuard key: it is not the base64 of 32 bytes"},
	} {
		_, err := ParsePublic(c.text)
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v\nwant %s", c.text, err, c.want)
		}
		if _, err := ParsePrivate(c.text); err == nil || err.Error() != c.want {
			t.Errorf("private %q: %v\nwant %s", c.text, err, c.want)
		}
	}
	zeros := base64.StdEncoding.EncodeToString(make([]byte, Size))
	if _, err := ParsePrivate(zeros); err == nil {
		t.Error("a private key of zeros was taken")
	}
	if _, err := ParsePreshared(zeros); err == nil {
		t.Error("a preshared key of zeros was taken")
	}
}

func TestPublicText(t *testing.T) {
	type file struct {
		Key  Public            `json:"key"`
		None Public            `json:"none"`
		Map  map[Public]string `json:"map"`
	}
	p := NewPrivate().Public()
	b, err := json.Marshal(file{Key: p, Map: map[Public]string{p: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	var got file
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Key != p || !got.None.IsZero() || got.Map[p] != "x" {
		t.Errorf("%s came back as %+v", b, got)
	}
	before := got.Key
	if err := got.Key.UnmarshalText([]byte("nonsense")); err == nil || got.Key != before {
		t.Errorf("nonsense: error %v, key %v", err, got.Key)
	}
}

func FuzzParsePublic(f *testing.F) {
	f.Add("OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8=")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePublic(text)
		if err != nil {
			return
		}
		if got := p.String(); got != text && !p.IsZero() {
			t.Errorf("%q was read and is written %q", text, got)
		}
	})
}
