package fleet

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
)

// FuzzLoad reads three files of anything: it says what is wrong, or compiles.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/county", "testdata/fifty"} {
		f.Add(readAll(dir+"/fleet.toml"), readAll(dir+"/sites.csv"), readAll(dir+"/attachments.csv"))
	}
	f.Add("[network.a]\n[hub.b]\nlisten_port = { a = 1, c = 1 }\n[hub.b.lan]\na = [\"10.0.0.0/8\"]\n", "site\n-\n", "site,network,lan,as\n,,,\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, toml, sites, attached string) {
		for name, text := range map[string]string{tomlFile: toml, sitesFile: sites, attachmentsFile: attached} {
			write(t, dir, name, text)
		}
		fl, err := Load(dir)
		if err != nil {
			if _, ok := errors.AsType[config.Problems](err); !ok {
				t.Fatal(err)
			}
			return
		}
		if _, err := fl.CompileAll(); err != nil {
			if _, ok := errors.AsType[config.Problems](err); !ok {
				t.Fatal(err)
			}
		}
	})
}

// What commands write keeps people's other columns, their order, and every line
// that has not changed.
func TestSaveKeepsWhatIsPeoples(t *testing.T) {
	dir := with(t, map[string]string{keysFile: "note;network;gateway;public_key\r\n" +
		"\"by hand\";kestrel;avocet-1;" + keyFor("old") + "\r\n\r\n;heron;gone-1;" + keyFor("gone") + "\r\n"})
	f := load(t, dir)
	f.SetKey(Key{Gateway: "avocet-1", Network: "kestrel", Public: keyFor("new"), FirstSeen: "2026-11-22"})
	f.SetKey(Key{Gateway: "bittern-1", Network: "kestrel", Public: keyFor("b"), Fingerprint: fingerprintOf(keyFor("b")), FirstSeen: "2026-11-22"})
	f.SetGeneration(Generation{Gateway: "avocet-1", Number: 7, Hash: strings.Repeat("ab", 32)})
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	want := "note;network;gateway;public_key;fingerprint;first_seen\r\n" +
		"by hand;kestrel;avocet-1;" + keyFor("new") + ";;2026-11-22\r\n\r\n;heron;gone-1;" + keyFor("gone") + "\r\n" +
		";kestrel;bittern-1;" + keyFor("b") + ";" + fingerprintOf(keyFor("b")) + ";2026-11-22\r\n"
	if got := readAll(dir + "/" + keysFile); got != want {
		t.Errorf("keys.csv:\n%q\nwant\n%q", got, want)
	}
	again := load(t, dir)
	if g, _ := again.GenerationOf("avocet-1"); g.Number != 7 || g.Hash != strings.Repeat("ab", 32) {
		t.Errorf("generation %+v", g)
	}
	if k, _ := again.KeyOf("avocet-1", "kestrel"); k.Public != keyFor("new") {
		t.Errorf("key %+v", k)
	}
	if left, _ := os.ReadDir(dir); len(left) != 6 {
		t.Errorf("files left behind: %v", left)
	}
	if again.Digest() == f.Digest() {
		t.Error("another fleet has the same digest")
	}
}

// Two commands at once: the second to save overwrites nothing of the first.
func TestSaveOverwritesNobody(t *testing.T) {
	dir := with(t, nil)
	one, two := load(t, dir), load(t, dir)
	row := func(gateway string) Key {
		return Key{Gateway: gateway, Network: "kestrel", Public: keyFor(gateway), Fingerprint: fingerprintOf(keyFor(gateway)), FirstSeen: "2026-11-20"}
	}
	one.SetKey(row("gull-1"))
	if err := one.Save(); err != nil {
		t.Fatal(err)
	}
	two.SetGeneration(Generation{Gateway: "avocet-1", Number: 3, Hash: strings.Repeat("0", 64)})
	two.SetKey(row("heron-1"))
	if err := two.Save(); err == nil || !strings.Contains(err.Error(), "keys.csv: was changed since it was read") {
		t.Errorf("%v", err)
	}
	again := load(t, dir)
	if _, ok := again.KeyOf("gull-1", "kestrel"); !ok {
		t.Error("the first one's row is gone")
	}
	if g, ok := again.GenerationOf("avocet-1"); ok && g.Number == 3 {
		t.Error("half of it was saved")
	}
	one.SetKey(row("heron-1"))
	one.DropKey("gull-1", "kestrel")
	if err := one.Save(); err != nil {
		t.Errorf("once more by the first: %v", err)
	}
	again = load(t, dir)
	if _, ok := again.KeyOf("gull-1", "kestrel"); ok {
		t.Error("a row that was dropped is there")
	}
	if _, ok := again.KeyOf("heron-1", "kestrel"); !ok {
		t.Error("a row that was added is not there")
	}
}
