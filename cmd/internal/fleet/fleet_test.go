package fleet

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/config"
)

var update = flag.Bool("update", false, "write the .want files anew")

// TestCounty compiles a small county and compares every config, and what waits.
func TestCounty(t *testing.T) {
	f := load(t, "testdata/county")
	var out strings.Builder
	for _, g := range f.Gateways() {
		d, err := f.Compile(g.Name)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("==== " + g.Name + " ring " + f.Rings()[g.Ring] + "\n")
		out.Write(d.Text(3))
		for _, w := range d.Waiting {
			out.WriteString("waiting: " + w.Network + " to " + w.Peer + " for " + w.For + "\n")
		}
		if _, err := config.Parse(g.Name, d.Text(3)); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
	}
	golden(t, "testdata/county.want", out.String())
}

func load(t *testing.T, dir string) *Fleet {
	t.Helper()
	f, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// with is a copy of the county with files that differ.
func with(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/county")); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
