package trust_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/trust"
)

// text is a config of avocet-1; note makes it another one.
func text(generation int, note string, signers ...bundletest.Operator) string {
	lines := make([]string, len(signers))
	for i, s := range signers {
		lines[i] = fmt.Sprintf("%q", s.Line())
	}
	return fmt.Sprintf("# %s\ngateway = \"avocet-1\"\ngeneration = %d\nsigners = [%s]\n", note, generation, strings.Join(lines, ", "))
}

func sign(text, namespace string, by bundletest.Operator) []byte {
	return by.Bundle(text, namespace).Bytes()
}

func open(t *testing.T, dir string, first ...bundletest.Operator) *trust.Trust {
	t.Helper()
	var lines []string
	for _, o := range first {
		lines = append(lines, o.Line())
	}
	tr, err := trust.Open(dir, lines)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// take judges and accepts.
func take(t *testing.T, tr *trust.Trust, raw []byte) *trust.Offer {
	t.Helper()
	o, err := tr.Judge(raw, "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Accept(o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestWhatIsRefused(t *testing.T) {
	alice, bob, mallory := bundletest.New("alice"), bundletest.New("bob"), bundletest.New("mallory")
	dir := t.TempDir()
	tr := open(t, dir, alice, bob)
	now := sign(text(14, "now", alice, bob), bundle.Config, alice)
	take(t, tr, now)
	next := text(15, "next", alice, bob)
	good := sign(next, bundle.Config, bob)
	for name, c := range map[string]struct {
		raw     []byte
		gateway string
		want    error
		hint    string
	}{
		"unsigned":       {[]byte(next), "avocet-1", bundle.ErrUnsigned, "was all of the file copied? Its signature stands at its end"},
		"signature only": {good[len(next):], "avocet-1", bundle.ErrUnsigned, "was all of the file copied?"},
		"empty":          {nil, "avocet-1", bundle.ErrUnsigned, "was all of the file copied?"},
		"cut off":        {good[:len(good)-9], "avocet-1", bundle.ErrCutOff, "copy or send it again"},
		"100 MB":         {make([]byte, 100<<20), "avocet-1", bundle.ErrTooLarge, ""},
		"huge signature": {[]byte(strings.Replace(string(good), "-----END", strings.Repeat("A", 17<<10)+"\n-----END", 1)), "avocet-1", bundle.ErrTooLarge, ""},
		"unknown signer": {sign(next, bundle.Config, mallory), "avocet-1", bundle.ErrSigner, "accepted here: alice SHA256:"},
		"a list":         {sign(next, bundle.List, alice), "avocet-1", bundle.ErrPurpose, "ssh-keygen -Y sign -n ginnel-config"},
		"of git":         {sign(next, "git", alice), "avocet-1", bundle.ErrPurpose, "ssh-keygen -Y sign -n ginnel-config"},
		"altered":        {[]byte(strings.Replace(string(good), "15", "16", 1)), "avocet-1", bundle.ErrAltered, "it was changed after it was signed"},
		"line ends":      {[]byte(strings.ReplaceAll(string(good), "\n", "\r\n")), "avocet-1", bundle.ErrAltered, "if only in its line ends"},
		"other gateway":  {good, "bittern-1", trust.ErrGateway, "was the file meant for avocet-1?"},
		"replayed":       {sign(text(13, "before", alice, bob), bundle.Config, alice), "avocet-1", trust.ErrOld, "with a generation above 14"},
		"same number":    {sign(text(14, "another", alice, bob), bundle.Config, alice), "avocet-1", trust.ErrOther, "with a generation above 14"},
		"far ahead":      {sign(text(1_000_015, "lost key", alice, bob), bundle.Config, alice), "avocet-1", trust.ErrLeap, "at most 1000000 above it"},
		"by hand":        {sign("gateway = \"avocet-1\"\n", bundle.Config, alice), "avocet-1", trust.ErrByHand, "ginnelctl push writes one"},
	} {
		o, err := tr.Judge(c.raw, c.gateway)
		if o != nil || !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "config refused: ") {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		var h interface{ Hint() string }
		if errors.As(err, &h); h == nil || !strings.Contains(h.Hint(), c.hint) {
			t.Errorf("%s: hint of %v, want %q", name, err, c.hint)
		}
	}
	if _, err := tr.Judge(sign("gateway = \"avocet-1\"\ngeneration = 15\n", bundle.Config, alice), "avocet-1"); err == nil ||
		!strings.HasPrefix(err.Error(), "pushed.toml:1:1: signers: is missing") {
		t.Errorf("without signers: %v", err)
	}
	if _, err := open(t, t.TempDir()).Judge(good, "avocet-1"); !errors.Is(err, trust.ErrNoSigners) {
		t.Errorf("without a pack's signers: %v", err)
	}
	if tr.Mark() != 14 || open(t, dir, alice, bob).Mark() != 14 {
		t.Errorf("mark %d", tr.Mark())
	}
	if o, err := tr.Judge(good, "avocet-1"); err != nil || o.By.Name != "bob" || o.Config.Generation != 15 {
		t.Errorf("the good one: %+v, %v", o, err)
	}
}

// The mark outlives a restart, and the same config may be tried again.
func TestMarkRises(t *testing.T) {
	alice, bob := bundletest.New("alice"), bundletest.New("bob")
	dir := filepath.Join(t.TempDir(), "trust")
	tr := open(t, dir, alice, bob)
	first, second := sign(text(1, "", alice, bob), bundle.Config, alice), sign(text(2, "", alice, bob), bundle.Config, alice)
	late, err := tr.Judge(first, "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	take(t, tr, second)
	tr = open(t, dir, alice, bob)
	take(t, tr, second)
	if err := tr.Accept(late); !errors.Is(err, trust.ErrOld) {
		t.Errorf("judged before, accepted after a newer one: %v", err)
	}
	third, err := config.Parse("third.toml", []byte(text(3, "", alice, bob)))
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Accept(&trust.Offer{Config: third, By: late.By}); err == nil {
		t.Error("accepted what nobody judged")
	}
	if tr.Mark() != 2 {
		t.Errorf("mark %d", tr.Mark())
	}
}

// Signers change when a config that a present one signed is confirmed.
func TestSignersChange(t *testing.T) {
	alice, bob, carol := bundletest.New("alice"), bundletest.New("bob"), bundletest.New("carol")
	dir := t.TempDir()
	tr := open(t, dir, alice, bob)
	handover := sign(text(1, "carol for alice", bob, carol), bundle.Config, alice)
	o := take(t, tr, handover)
	by := func(who bundletest.Operator, generation int) error {
		_, err := tr.Judge(sign(text(generation, who.Line(), bob, carol), bundle.Config, who), "avocet-1")
		return err
	}
	if err := by(carol, 2); !errors.Is(err, bundle.ErrSigner) {
		t.Errorf("carol before the config is confirmed: %v", err)
	}
	for range 2 {
		if err := tr.Confirm(o); err != nil {
			t.Fatal(err)
		}
		tr = open(t, dir, alice, bob)
	}
	if err := by(carol, 2); err != nil {
		t.Errorf("carol after: %v", err)
	}
	if err := by(alice, 2); !errors.Is(err, bundle.ErrSigner) {
		t.Errorf("alice after: %v", err)
	}
	again, err := tr.Judge(handover, "avocet-1")
	if err != nil || again.By.Name != "alice" {
		t.Errorf("the config that runs, once more: %v", err)
	}
	newest := sign(text(2, "", alice, bob), bundle.Config, bob)
	take(t, tr, newest)
	if err := tr.Confirm(o); err == nil {
		t.Error("confirmed one that a newer one has replaced")
	}
	if got := strings.Join(tr.Signers().Lines(), "\n"); got != bob.Line()+"\n"+carol.Line() {
		t.Errorf("signers:\n%s", got)
	}
	// Another pack begins anew, but an old config stays old.
	tr = open(t, dir, alice, carol)
	if got := tr.Signers().Lines()[0]; got != alice.Line() || tr.Mark() != 2 {
		t.Errorf("with another pack: %s, mark %d", got, tr.Mark())
	}
	// Whom the new pack leaves out does not come back by what they signed last.
	if _, err := tr.Judge(newest, "avocet-1"); !errors.Is(err, bundle.ErrSigner) {
		t.Errorf("bob's last config, with a pack without bob: %v", err)
	}
}

// A signer who is shut out between the judgement of a config and its acceptance,
// by a config or by another site pack, brings nothing in any more.
func TestSignerWhoIsShutOutMeanwhile(t *testing.T) {
	alice, bob, carol := bundletest.New("alice"), bundletest.New("bob"), bundletest.New("carol")
	for name, shutOut := range map[string]func(tr *trust.Trust, handover *trust.Offer) error{
		"by a config": func(tr *trust.Trust, handover *trust.Offer) error { return tr.Confirm(handover) },
		"by a pack":   func(tr *trust.Trust, _ *trust.Offer) error { return tr.Begin([]string{bob.Line(), carol.Line()}) },
	} {
		dir := t.TempDir()
		tr := open(t, dir, alice, bob)
		handover := take(t, tr, sign(text(1, "carol for alice", bob, carol), bundle.Config, bob))
		late, err := tr.Judge(sign(text(2, "", alice, bob), bundle.Config, alice), "avocet-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := shutOut(tr, handover); err != nil {
			t.Fatal(err)
		}
		if err := tr.Accept(late); !errors.Is(err, bundle.ErrSigner) || tr.Mark() != 1 {
			t.Errorf("%s: %v, mark %d", name, err, tr.Mark())
		}
		take(t, tr, sign(text(2, "", bob, carol), bundle.Config, carol))
		if mark := open(t, dir, bob, carol).Mark(); mark != 2 {
			t.Errorf("%s: mark %d on disk", name, mark)
		}
	}
}

// A config that was accepted under the site pack before, and is on trial, may be
// confirmed under the new one, if that has its signer too.
func TestConfirmedUnderAnotherPack(t *testing.T) {
	alice, bob, carol := bundletest.New("alice"), bundletest.New("bob"), bundletest.New("carol")
	for name, c := range map[string]struct {
		pack []string
		want error
	}{
		"with its signer":    {[]string{alice.Line(), carol.Line()}, nil},
		"without its signer": {[]string{bob.Line(), carol.Line()}, bundle.ErrSigner},
	} {
		tr := open(t, t.TempDir(), alice, bob)
		raw := sign(text(1, "", alice, bob), bundle.Config, alice)
		take(t, tr, raw)
		if err := tr.Begin(c.pack); err != nil {
			t.Fatal(err)
		}
		o, err := tr.Judge(raw, "avocet-1")
		if !errors.Is(err, c.want) {
			t.Fatalf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if err := errors.Join(tr.Accept(o), tr.Confirm(o)); err != nil || tr.Mark() != 1 || tr.Signers()[1].Name != "bob" {
			t.Errorf("%s: %v, mark %d, signers %v", name, err, tr.Mark(), tr.Signers())
		}
	}
}

func list(number int, rest string) string { return fmt.Sprintf("number = %d\n%s", number, rest) }

func TestListRises(t *testing.T) {
	alice, mallory := bundletest.New("alice"), bundletest.New("mallory")
	dir := t.TempDir()
	tr := open(t, dir, alice)
	const fulmar = "[[deny]]\nkind = \"revoke\"\ngateways = [\"fulmar-1\"]\n"
	seven := sign(list(7, fulmar), bundle.List, alice)
	for i, c := range []struct {
		raw     []byte
		changed bool
		want    error
	}{
		{seven, true, nil},
		{seven, false, nil},
		{sign(list(6, ""), bundle.List, alice), false, nil},
		{sign(list(8, ""), bundle.List, mallory), false, bundle.ErrSigner},
		{sign(list(8, ""), bundle.Config, alice), false, bundle.ErrPurpose},
		{[]byte(list(8, "")), false, bundle.ErrUnsigned},
		{sign(list(1_000_008, ""), bundle.List, alice), false, trust.ErrLeap},
	} {
		changed, err := tr.TakeList(c.raw)
		if changed != c.changed || !errors.Is(err, c.want) || err != nil && !strings.HasPrefix(err.Error(), "list refused: ") {
			t.Errorf("%d: %v, %v", i, changed, err)
		}
	}
	if _, err := tr.TakeList(sign(list(0, ""), bundle.List, alice)); err == nil || !strings.Contains(err.Error(), "number: 0") {
		t.Errorf("number 0: %v", err)
	}
	hub := hub(t)
	for name, tr := range map[string]*trust.Trust{"now": tr, "after a restart": open(t, dir, alice)} {
		if tr.List().Number != 7 || len(tr.Apply(hub).Networks[0].Sites) != 1 {
			t.Errorf("%s: list %+v", name, tr.List())
		}
	}
	if changed, err := tr.TakeList(sign(list(8, ""), bundle.List, alice)); !changed || err != nil || len(tr.Apply(hub).Networks[0].Sites) != 2 {
		t.Errorf("reconnected: %v, %v", changed, err)
	}
	if (*trust.Trust)(nil).Apply(hub) != hub {
		t.Error("a gateway that trusts nobody takes something away")
	}
}

func hub(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.Parse("hub.toml", []byte(`gateway = "hub-north"
[[network]]
name = "kestrel"
role = "hub"
address = ["100.64.0.1/32"]
[[network.site]]
name = "fulmar-1"
public_key = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
allowed_ips = ["100.64.0.12/32"]
[[network.site]]
name = "avocet-1"
public_key = "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
allowed_ips = ["100.64.0.7/32"]
`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Nothing is believed that is not on disk, and what a power cut left half
// written beside the file is nothing.
func TestDiskComesFirst(t *testing.T) {
	alice, bob := bundletest.New("alice"), bundletest.New("bob")
	dir := filepath.Join(t.TempDir(), "trust")
	tr := open(t, dir, alice, bob)
	one := take(t, tr, sign(text(1, "", alice, bob), bundle.Config, alice))
	two, err := tr.Judge(sign(text(2, "", alice, bob), bundle.Config, alice), "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the folder was
		t.Fatal(err)
	}
	if err := tr.Accept(two); err == nil || tr.Mark() != 1 {
		t.Errorf("accepted without a disk: %v, mark %d", err, tr.Mark())
	}
	if err := tr.Confirm(one); err == nil {
		t.Error("confirmed without a disk")
	}
	if _, err := tr.TakeList(sign(list(7, ""), bundle.List, alice)); err == nil || tr.List() != nil {
		t.Errorf("took a list without a disk: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".trust.json.12345"), []byte(`{"mark": 99`), 0o600); err != nil {
		t.Fatal(err)
	}
	if tr = open(t, dir, alice, bob); tr.Mark() != 1 {
		t.Errorf("mark %d", tr.Mark())
	}
	for _, damage := range []string{"", `{"mark": 9`, `{"mark": 9, "list": "AAAA"}`, `{"mark": 9, "signers": ["x"]}`} {
		if err := os.WriteFile(filepath.Join(dir, "trust.json"), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := trust.Open(dir, []string{alice.Line(), bob.Line()})
		var h interface{ Hint() string }
		if !errors.Is(err, trust.ErrDamaged) || !errors.As(err, &h) {
			t.Errorf("damaged with %q: %v", damage, err)
		}
	}
}
