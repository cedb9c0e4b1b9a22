package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

// TestRestoredCollector goes back to yesterday: gateways and operators of then
// are known, those since are not, and nothing is pushed before somebody says so.
func TestRestoredCollector(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "backup.tar")
	c := start(t, data, "--listen-pages", "127.0.0.1:0")
	avocet := c.site("avocet")
	command(t, 0, "operator", "add", "sam", "-o", filepath.Join(dir, "sam.pem"), "--data", data)
	if got := command(t, 0, "backup", file, "--data", data); !strings.Contains(got, "the authority's key") {
		t.Error(got)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got := command(t, 1, "backup", file, "--data", data); !strings.Contains(got, "is there already") {
		t.Error(got)
	}
	bittern := c.site("bittern") // since
	if status, answer := c.post(bittern, storetest.Pack(t, storetest.Block("bittern-1", 5, 1))); status != 200 {
		t.Errorf("%d %s", status, answer)
	}

	if got := command(t, 1, "restore", "--force", file, "--data", data); !strings.Contains(got, "in use by another collector") {
		t.Errorf("over one that runs: %s", got)
	}
	c.stop()
	must(t, os.WriteFile(filepath.Join(data, storeFile+"-wal"), []byte("left behind"), 0o600))
	if got := command(t, 1, "restore", file, "--data", data); !strings.Contains(got, "there is a collector in") || !strings.Contains(got, "--force") {
		t.Errorf("over one that is there: %s", got)
	}
	got := command(t, 0, "restore", "--force", file, "--data", data)
	aside, _ := filepath.Glob(filepath.Join(data, "before-restore-*"))
	if len(aside) != 1 || !strings.Contains(got, aside[0]) || !strings.Contains(got, "frozen") {
		t.Fatalf("%v\n%s", aside, got)
	}
	for _, name := range []string{storeFile, storeFile + "-wal", caKeyFile, caCertFile} {
		if _, err := os.Stat(filepath.Join(aside[0], name)); err != nil {
			t.Errorf("what was there: %v", err)
		}
	}

	c = start(t, data, "--listen-pages", "127.0.0.1:0")
	if !strings.Contains(c.log.String(), `msg="rollouts are frozen"`) {
		t.Errorf("it does not say so:\n%s", c.log)
	}
	if status, answer := c.post(avocet, storetest.Pack(t, storetest.Block("avocet-1", 5, 1))); status != 200 {
		t.Errorf("a gateway of then: %d %s", status, answer)
	}
	if status, answer := c.post(bittern, storetest.Pack(t, storetest.Block("bittern-1", 5, 1))); status != 403 {
		t.Errorf("a gateway since: %d %s", status, answer)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(data, storeFile), slog.New(slog.DiscardHandler))
	must(t, err)
	defer st.Close()
	if all, err := st.Operators(t.Context()); err != nil || len(all) != 1 || all[0].Name != "sam" {
		t.Errorf("%+v, %v", all, err)
	}
	if f, err := st.Freeze(t.Context()); err != nil || !f.Until.After(time.Now().AddDate(9, 0, 0)) || !strings.Contains(f.Why, "restored from the backup of 20") {
		t.Errorf("%+v, %v", f, err)
	}
	if got := command(t, 0, "audit", "--data", data); !strings.Contains(got, `"act":"restore"`) {
		t.Error(got)
	}
}

// TestBadBackups are refused, and what is there stays.
func TestBadBackups(t *testing.T) {
	dir := t.TempDir()
	data, other, file := filepath.Join(dir, "data"), filepath.Join(dir, "other"), filepath.Join(dir, "backup.tar")
	start(t, data, "--listen-pages", "127.0.0.1:0").stop()
	start(t, other, "--listen-pages", "127.0.0.1:0").stop()
	command(t, 0, "backup", file, "--data", data)
	whole, err := os.ReadFile(file)
	must(t, err)
	foreign, err := os.ReadFile(filepath.Join(other, caKeyFile))
	must(t, err)
	change := func(name string, to func([]byte) []byte) []byte {
		var out bytes.Buffer
		r, w := tar.NewReader(bytes.NewReader(whole)), tar.NewWriter(&out)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			body, err := io.ReadAll(r)
			must(t, err)
			if h.Name == name {
				body = to(body)
			}
			h.Size = int64(len(body))
			must(t, w.WriteHeader(h))
			_, err = w.Write(body)
			must(t, err)
		}
		must(t, w.Close())
		return out.Bytes()
	}
	before, err := os.ReadFile(filepath.Join(data, storeFile))
	must(t, err)
	for want, bad := range map[string][]byte{
		"is no backup":         []byte("hello"),
		"is not whole":         whole[:len(whole)/2],
		"ca.crt is missing":    change(caKeyFile, func(b []byte) []byte { return b })[:1024],
		"does not belong":      change(caKeyFile, func([]byte) []byte { return foreign }),
		"not a database":       change(storeFile, func(b []byte) []byte { return bytes.Repeat([]byte("no database "), 1000) }),
		"the store is damaged": change(storeFile, func(b []byte) []byte { clear(b[2*4096 : 8*4096]); return b }),
	} {
		must(t, os.WriteFile(file, bad, 0o600))
		if got := command(t, 1, "restore", "--force", file, "--data", data); !strings.Contains(got, want) {
			t.Errorf("%s, want %q", got, want)
		}
	}
	after, err := os.ReadFile(filepath.Join(data, storeFile))
	must(t, err)
	if left, _ := filepath.Glob(filepath.Join(data, "*restore*")); !bytes.Equal(before, after) || len(left) != 0 {
		t.Errorf("what was there changed, or %v was left", left)
	}
	if got := command(t, 1, "restore", filepath.Join(dir, "nowhere"), "--data", filepath.Join(dir, "new")); !strings.Contains(got, "no such file") {
		t.Error(got)
	}
}
