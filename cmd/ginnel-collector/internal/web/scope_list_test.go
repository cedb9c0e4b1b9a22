package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/tunnels/key"
)

func device(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func pkix(t *testing.T, device *ecdsa.PrivateKey) []byte {
	t.Helper()
	raw, err := x509.MarshalPKIXPublicKey(device.Public())
	must(t, err)
	return raw
}

// proves is what the collector shows of a gateway whose key in kestrel is 32
// times k.
func proves(t *testing.T, gateway string, device *ecdsa.PrivateKey, k byte) centre.Keys {
	t.Helper()
	public, err := key.ParsePublic(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{k}, 32)))
	must(t, err)
	text, err := json.Marshal(identity.Statement{Gateway: gateway, UID: "u", Device: pkix(t, device), Number: uint64(k), Keys: map[string]key.Public{"kestrel": public}})
	must(t, err)
	sum := sha256.Sum256(append([]byte("ginnel proof 1\n"), text...))
	signature, err := ecdsa.SignASN1(rand.Reader, device, sum[:])
	must(t, err)
	return centre.Keys{Gateway: gateway, Proofs: []identity.Proof{{Text: text, Signature: signature}}}
}

func TestScopedOperatorShutsOut(t *testing.T) {
	d, s := two(t)
	list := func(number int, denials ...string) []byte {
		text := fmt.Sprintf("number = %d\n", number)
		for _, deny := range denials {
			text += "\n[[deny]]\n" + deny + "\nby = \"x\"\nwhy = \"y\"\nat = 2026-11-24T14:00:00Z\n"
		}
		return signed(text, bundle.List).Bytes()
	}
	isolate := func(what string) string { return "kind = \"isolate\"\n" + what }
	heron, kestrel := isolate(`networks = ["heron"]`), isolate(`networks = ["kestrel"]`)
	curlew, avocet := isolate(`gateways = ["curlew-1"]`), isolate(`gateways = ["avocet-1"]`)
	s.list = centre.List{Number: 1, Bundle: list(1, heron)}
	for _, c := range []struct {
		denials []string
		want    string
	}{
		{[]string{heron, kestrel}, ""},
		{[]string{heron, curlew}, ""},
		{[]string{heron, avocet}, "isolate of [avocet-1]"},
		{[]string{curlew}, "isolate of [] [heron]"},
	} {
		_, err := d.as("kim").SetList(t.Context(), centre.NewList{Bundle: list(2, c.denials...)})
		if c.want == "" {
			must(t, err)
			continue
		}
		refused(t, err, 403, c.want)
	}
	// By a key or a device a list shuts out whoever has it, whatever name it says.
	mine, theirs := device(t), device(t)
	s.keys = []centre.Keys{proves(t, "curlew-1", mine, 1), proves(t, "curlew-1", mine, 2), proves(t, "egret-1", theirs, 3), proves(t, "curlew-1", mine, 3)}
	revoke := func(device *ecdsa.PrivateKey, keys ...byte) string {
		text := "kind = \"revoke\"\ngateways = [\"curlew-1\"]\n"
		if device != nil {
			sum := sha256.Sum256(pkix(t, device))
			text += fmt.Sprintf("device = \"%x\"\n", sum)
		}
		for i, k := range keys {
			keys := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{k}, 32))
			text += map[bool]string{true: "keys = [", false: ", "}[i == 0] + fmt.Sprintf("%q", keys)
		}
		return text + map[bool]string{true: "]", false: ""}[len(keys) > 0]
	}
	for _, c := range []struct {
		deny, want string
	}{
		{revoke(mine, 1, 2), ""},
		{revoke(theirs), "a device that is not theirs"},
		{revoke(device(t)), "a device that is not theirs"},
		{revoke(mine, 1, 9), "a key that is not theirs"},
		{revoke(nil, 3), "a key that is not theirs"}, // curlew-1 says that it has it, too
	} {
		_, err := d.as("kim").SetList(t.Context(), centre.NewList{Bundle: list(2, heron, c.deny)})
		if c.want == "" {
			must(t, err)
			continue
		}
		refused(t, err, 403, c.want)
	}
	_, err := d.as("sam").SetList(t.Context(), centre.NewList{Bundle: list(2)})
	must(t, err)
	_, err = d.as("kim").SetList(t.Context(), centre.NewList{Bundle: []byte("x")})
	refused(t, err, 400, "the list cannot be read")
	if len(s.told) != 4 {
		t.Error(s.told)
	}
}
