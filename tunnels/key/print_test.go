package key

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// holder has secrets where fmt may call methods and where it may not.
type holder struct {
	Open    Private
	hidden  Private
	pointer *Private
	list    []Private
	table   map[string]Preshared
	any     any
	deep    struct{ p Preshared }
	array   [1]Preshared
}

func TestSecretsCannotBePrinted(t *testing.T) {
	p, s := NewPrivate(), NewPreshared()
	h := holder{Open: p, hidden: p, pointer: &p, list: []Private{p},
		table: map[string]Preshared{"x": s}, any: p, array: [1]Preshared{s}}
	h.deep.p = s

	var out bytes.Buffer
	for _, v := range []any{p, &p, s, &s, h, &h, []holder{h}, map[string]*holder{"h": &h}, p.secret, &p.secret} {
		for verb := '!'; verb <= '~'; verb++ {
			for _, flags := range []string{"", "+", "#", " ", "0", "-", "200", ".100", "+#"} {
				fmt.Fprintf(&out, "%"+flags+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&out, v)
		fmt.Fprint(&out, v, fmt.Errorf("wrapped: %v", v))
		for _, l := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(l).With("with", v).Info("message", "value", v, slog.Group("group", "value", v))
		}
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
			b, err := marshal(v)
			fmt.Fprintln(&out, string(b), err)
		}
		fmt.Fprintln(&out, gob.NewEncoder(&out).Encode(v))
	}
	for name, k := range map[string][Size]byte{"private": p.Bytes(), "preshared": s.Bytes()} {
		wantAbsent(t, name, out.Bytes(), k)
	}
	if !strings.Contains(out.String(), hidden) {
		t.Errorf("no output has %q: was anything printed?", hidden)
	}
}

// wantAbsent looks for a piece of k that chance does not give, in each form
// that a printer could have used.
func wantAbsent(t *testing.T, name string, out []byte, k [Size]byte) {
	t.Helper()
	piece := k[9:15] // a multiple of three from both ends: base64 of it stands alone
	var decimals, quoted, comma, octal []string
	for _, b := range piece {
		decimals = append(decimals, fmt.Sprintf("%d", b))
		comma = append(comma, fmt.Sprintf("0x%x", b))
		quoted = append(quoted, fmt.Sprintf("%x", b))
		octal = append(octal, fmt.Sprintf("%o", b))
	}
	forms := []string{
		string(piece), hex.EncodeToString(piece), strings.ToUpper(hex.EncodeToString(piece)),
		base64.RawStdEncoding.EncodeToString(piece),
		strings.Join(decimals, " "), strings.Join(decimals, ","), strings.Join(comma, ", "),
		strings.Join(quoted, " "), strings.Join(octal, " "),
	}
	for _, f := range forms {
		if bytes.Contains(out, []byte(f)) {
			t.Errorf("%s key was printed as %q", name, f)
		}
	}
}

func TestSecretsAreNotEqualByAddress(t *testing.T) {
	p := NewPrivate()
	k := p.Bytes()
	again, err := ParsePrivate(base64.StdEncoding.EncodeToString(k[:]))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Equal(again) || p.Equal(NewPrivate()) || p.Equal(Private{}) || !(Private{}).Equal(Private{}) {
		t.Error("Equal does not compare the key itself")
	}
	if s := NewPreshared(); !s.Equal(PresharedFromBytes(s.Bytes())) || s.Equal(NewPreshared()) || (Preshared{}).Equal(s) {
		t.Error("Equal of Preshared does not compare the key itself")
	}
	if !PresharedFromBytes([Size]byte{}).IsZero() {
		t.Error("zeros from a device are a preshared key")
	}
}
