package identity

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/tunnels/key"
)

func prepared(t *testing.T) *Identity {
	t.Helper()
	id, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Prepare(); err != nil {
		t.Fatal(err)
	}
	return id
}

func device(t *testing.T, id *Identity) []byte {
	t.Helper()
	pkix, err := x509.MarshalPKIXPublicKey(&id.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pkix
}

func newKey() key.Public { return key.NewPrivate().Public() }

func prove(t *testing.T, id *Identity, keys map[string]key.Public, s Secret) Proof {
	t.Helper()
	p, err := id.Prove("avocet-1", keys, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The first proof is believed by the pack's secret, later ones by the device;
// each says all keys, and which ones they took the place of.
func TestChainOfProofs(t *testing.T) {
	id, secret := prepared(t), NewSecret()
	kestrel, heron, another := newKey(), newKey(), newKey()
	first := prove(t, id, map[string]key.Public{"kestrel": kestrel}, secret)
	st, err := first.ByPack(secret)
	if err != nil || st.Number != 1 || st.Keys["kestrel"] != kestrel || st.UID != id.UID().String() || !slices.Equal(st.Device, device(t, id)) {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := first.ByPack(NewSecret()); !errors.Is(err, ErrMAC) {
		t.Errorf("under another secret: %v", err)
	}
	if _, err := first.ByPack(Secret{}); !errors.Is(err, ErrMAC) {
		t.Errorf("under none: %v", err)
	}
	second := prove(t, id, map[string]key.Public{"heron": heron}, Secret{})
	third := prove(t, id, map[string]key.Public{"kestrel": another}, Secret{})
	if _, err := second.ByPack(Secret{}); !errors.Is(err, ErrMAC) {
		t.Errorf("no MAC passes under no secret: %v", err)
	}
	st, err = third.ByDevice(device(t, id))
	want := Statement{Gateway: "avocet-1", UID: id.UID().String(), Device: device(t, id), Number: 3, At: st.At,
		Keys: map[string]key.Public{"kestrel": another, "heron": heron}, Former: map[string][]key.Public{"kestrel": {kestrel}}}
	if d := cmp.Diff(want, st); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	if _, err := third.ByDevice(device(t, prepared(t))); !errors.Is(err, ErrSignature) {
		t.Errorf("by another device: %v", err)
	}
}

// What is proved waits until the collector has it, through any restart, and is
// not proved twice.
func TestProofsWaitOnDisk(t *testing.T) {
	id, secret := prepared(t), NewSecret()
	keys := map[string]key.Public{"kestrel": newKey()}
	first := prove(t, id, keys, secret)
	again, err := Open(id.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Proof{first}, again.Proofs()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(first, prove(t, again, keys, secret)); d != "" {
		t.Errorf("the same was proved anew:\n%s", d)
	}
	later := prove(t, again, map[string]key.Public{"heron": newKey()}, Secret{})
	last := prove(t, again, map[string]key.Public{"heron": newKey()}, Secret{})
	if d := cmp.Diff([]Proof{first, last}, again.Proofs()); d != "" {
		t.Errorf("only the newest of those without a MAC waits:\n%s", d)
	}
	if err := again.Keep([]string{first.Hash(), later.Hash(), "x"}); err != nil {
		t.Fatal(err)
	}
	if id, err = Open(id.Dir()); err != nil || len(id.Proofs()) != 1 {
		t.Fatalf("%d wait, %v", len(id.Proofs()), err)
	}
	if err := id.Keep([]string{last.Hash()}); err != nil || len(id.Proofs()) != 0 {
		t.Fatal(err)
	}
	if d := cmp.Diff(last, prove(t, id, nil, Secret{})); d != "" || len(id.Proofs()) != 0 {
		t.Errorf("what the collector has was proved anew:\n%s", d)
	}
	// A new pack: its secret has seen nothing yet.
	anew := prove(t, id, keys, NewSecret())
	if st, err := anew.Stated(); err != nil || len(st.Keys) != 2 || len(anew.MAC) == 0 || len(id.Proofs()) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

// Nobody can change a proof on its way.
func TestProofsOfOthersAreRefused(t *testing.T) {
	id, secret := prepared(t), NewSecret()
	good := prove(t, id, map[string]key.Public{"kestrel": newKey()}, secret)
	edit := func(change func(map[string]any)) Proof {
		var st map[string]any
		if err := json.Unmarshal(good.Text, &st); err != nil {
			t.Fatal(err)
		}
		change(st)
		p := good
		p.Text, _ = json.Marshal(st)
		return p
	}
	for _, tt := range []struct {
		name string
		p    Proof
		want string
	}{
		{"another key", edit(func(st map[string]any) { st["keys"] = map[string]string{"kestrel": newKey().String()} }), "signature"},
		{"another gateway", edit(func(st map[string]any) { st["gateway"] = "bittern-1" }), "signature"},
		{"another device", edit(func(st map[string]any) { st["device"] = device(t, prepared(t)) }), "signature"},
		{"no device", edit(func(st map[string]any) { delete(st, "device") }), "states a device key that is not"},
		{"path for a network", edit(func(st map[string]any) { st["keys"] = map[string]string{"../x": newKey().String()} }), "not a name"},
		{"no key", edit(func(st map[string]any) { st["keys"] = map[string]string{"kestrel": ""} }), "states no key"},
		{"no JSON", Proof{Text: []byte("x"), Signature: good.Signature}, "is not a statement"},
		{"huge", Proof{Text: make([]byte, MaxProof+1)}, "at most"},
	} {
		_, byPack := tt.p.ByPack(secret)
		if !errors.Is(byPack, ErrMAC) {
			t.Errorf("%s: by the pack: %v", tt.name, byPack)
		}
		_, err := tt.p.ByDevice(device(t, id))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: by the device: %v, want %s", tt.name, err, tt.want)
		}
	}
	// The signature of anything else under the device key is none of a proof.
	if err := os.WriteFile(id.path(proofsFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(id.Dir()); err == nil || !strings.Contains(err.Error(), proofsFile) {
		t.Errorf("a broken file: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	if len(fingerprintWords) != 256 {
		t.Fatalf("%d words", len(fingerprintWords))
	}
	for i, w := range fingerprintWords {
		if len(w) != 4 || slices.Contains(fingerprintWords[:i], w) {
			t.Errorf("%q", w)
		}
	}
	if got := Fingerprint(make([]byte, 32)); got != "FERN-68-FLAG-56" {
		t.Errorf("of no bits it is %s: what people have on paper no longer matches", got)
	}
	k := newKey()
	if got := Fingerprint(k[:]); !regexp.MustCompile(`^[A-Z]{4}-\d\d-[A-Z]{4}-\d\d$`).MatchString(got) || got == Fingerprint(device(t, prepared(t))) {
		t.Errorf("%s", got)
	}
}

func FuzzProof(f *testing.F) {
	f.Add([]byte(`{"gateway":"avocet-1","device":"","keys":{"kestrel":"x"}}`), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, text, mac, signature []byte) {
		p := Proof{Text: text, MAC: mac, Signature: signature}
		if _, err := p.Stated(); err == nil {
			t.Error("signed by nobody, and believed")
		}
		if _, err := p.ByPack(NewSecret()); err == nil {
			t.Error("believed")
		}
		p.Hash()
	})
}

// However often keys change, what is stated can be read, and goes on from what was
// stated before; of the keys of long ago the oldest are left out.
func TestManyChangesOfKeys(t *testing.T) {
	id := prepared(t)
	for round := range 30 {
		keys := map[string]key.Public{"kestrel": newKey()}
		for n := range MaxProofKeys - 1 {
			keys[fmt.Sprintf("network-%d", n)] = newKey()
		}
		st, err := prove(t, id, keys, Secret{}).ByDevice(device(t, id))
		if err != nil || st.Number != uint64(round+1) || len(st.Keys) != MaxProofKeys || round > 0 && len(st.Former["kestrel"]) == 0 {
			t.Fatalf("round %d: number %d, %d keys, %v", round, st.Number, len(st.Keys), err)
		}
	}
	id = prepared(t)
	for round := range 70 {
		before := id.Stated()["kestrel"]
		st, err := prove(t, id, map[string]key.Public{"kestrel": newKey()}, Secret{}).ByDevice(device(t, id))
		if former := st.Former["kestrel"]; err != nil || len(former) != min(round, maxFormer) || round > 0 && former[len(former)-1] != before {
			t.Fatalf("change %d: %d former keys, %v", round, len(former), err)
		}
	}
}
