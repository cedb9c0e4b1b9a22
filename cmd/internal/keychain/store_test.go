package keychain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/identity"
)

func TestStoreKeepsSecrets(t *testing.T) {
	t.Setenv(StoreVariable, t.TempDir()+"/packs")
	s, err := OpenStore()
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.Secrets("avocet-1"); len(all) != 0 || err != nil {
		t.Fatalf("%d secrets before the first, %v", len(all), err)
	}
	var last []identity.Secret
	for range most + 1 {
		one := identity.NewSecret()
		last = append([]identity.Secret{one}, last...)
		if err := s.Add("avocet-1", one); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Secrets("avocet-1")
	if err != nil || len(all) != most || all[0].Reveal() != last[0].Reveal() || all[most-1].Reveal() != last[most-1].Reveal() {
		t.Fatalf("%d secrets, %v", len(all), err)
	}
	if st, err := os.Stat(s.Path("avocet-1")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if all, err := s.Secrets("bittern-1"); len(all) != 0 || err != nil {
		t.Errorf("another gateway has %d, %v", len(all), err)
	}
	if err := s.Drop("avocet-1"); err != nil {
		t.Fatal(err)
	}
	if all, _ = s.Secrets("avocet-1"); len(all) != most-1 || all[0].Reveal() != last[1].Reveal() {
		t.Error("another than the newest was forgotten")
	}
	if err := s.Add("../avocet", identity.NewSecret()); err == nil {
		t.Error("a file elsewhere was written")
	}
	for what, text := range map[string]string{"readable by all": "", "spoilt": "x\n"} {
		if text != "" {
			os.WriteFile(s.Path("avocet-1"), []byte(text), 0o600)
		} else {
			os.Chmod(s.Path("avocet-1"), 0o644)
		}
		if _, err := s.Secrets("avocet-1"); err == nil || !strings.Contains(err.Error(), s.Path("avocet-1")) {
			t.Errorf("%s: %v", what, err)
		}
		os.Chmod(s.Path("avocet-1"), 0o600)
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, f.Name()), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
