package key

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kestrel.key")
	made, created, err := LoadOrCreate(path)
	if err != nil || !created || made.IsZero() {
		t.Fatalf("new file: created %v, zero %v, error %v", created, made.IsZero(), err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want -rw-------", info.Mode())
	}
	read, created, err := LoadOrCreate(path)
	if err != nil || created || !read.Equal(made) {
		t.Errorf("second time: created %v, same %v, error %v", created, read.Equal(made), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v; want the key alone", left, err)
	}
}

func TestLoadOrCreateTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kestrel.key")
	var wg sync.WaitGroup
	keys := make([]Private, 16)
	made := make([]bool, len(keys))
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], made[i], err = LoadOrCreate(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for i := range keys {
		if !keys[i].Equal(keys[0]) {
			t.Fatal("two callers have different keys")
		}
		if made[i] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d callers say that they made the file, want 1", n)
	}
}

func TestKeyFileRefused(t *testing.T) {
	good := NewPrivate()
	dir := t.TempDir()
	file := filepath.Join(dir, "good.key")
	if err := create(file, good.secret); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		mode       fs.FileMode
		want, hint string
	}{
		{"group", string(text), 0o640, "mode 0640 lets others read the key", "chmod 600"},
		{"others", string(text), 0o604, "mode 0604 lets others read the key", "chmod 600"},
		{"garbage", "secretsecret\n", 0o600, "not a WireGuard key: it has 12 characters", "move it away"},
		{"empty", "", 0o600, "not a WireGuard key: it is empty", "move it away"},
		{"long", strings.Repeat("x", 5000), 0o600, "not a WireGuard key: the file has 5000 bytes", ""},
		{"two", string(text) + string(text), 0o600, "white space", "move it away"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, created, err := LoadOrCreate(path)
			fe, ok := errors.AsType[*FileError](err)
			if !ok || created || !strings.Contains(err.Error(), c.want) || !strings.Contains(fe.Hint(), c.hint) {
				t.Fatalf("created %v, error %v; want %q with hint %q", created, err, c.want, c.hint)
			}
			if strings.Contains(err.Error(), "secretsecret") {
				t.Errorf("the error repeats the file: %v", err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != c.text {
				t.Errorf("the file was touched: %v", err)
			}
			if _, err := LoadPreshared(path); err == nil {
				t.Error("LoadPreshared took it")
			}
		})
	}
	if _, _, err := LoadOrCreate(filepath.Join(dir, "no", "such.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder missing: %v", err)
	}
	if _, _, err := LoadOrCreate(dir); err == nil {
		t.Error("a folder was taken for a key file")
	}
}

func TestLoadPreshared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub-north.psk")
	want := NewPreshared()
	if err := create(path, want.secret); err != nil {
		t.Fatal(err)
	}
	got, err := LoadPreshared(path)
	if err != nil || !got.Equal(want) {
		t.Errorf("same %v, error %v", got.Equal(want), err)
	}
}
