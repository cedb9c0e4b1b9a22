package durable

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "state.json")
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, err2 := os.Stat(path)
		if err != nil || err2 != nil || string(got) != text || info.Mode().Perm() != 0o640 {
			t.Errorf("got %q, mode %v, %v, %v", got, info.Mode(), err, err2)
		}
	}
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"state.json"}) {
		t.Errorf("the folder has %q", got)
	}
}

// TestWriteFileFails: the old file stays, and nothing beside it.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.Mkdir(path, 0o755); err != nil { // no file can take a folder's place
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("one"), 0o640); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if got := names(t, dir); !slices.Equal(got, []string{"state.json"}) {
		t.Errorf("the folder has %q", got)
	}
}

// TestSweep: what a killed writer left goes, what may be somebody's work stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-2 * abandoned)
	for name, at := range map[string]time.Time{
		".state.json.123": long, ".state.json.456": time.Now(), ".states.json.123": long, "state.json.123": long, ".other": long,
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "state.json"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	want := []string{".other", ".state.json.456", ".states.json.123", "state.json", "state.json.123"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}
