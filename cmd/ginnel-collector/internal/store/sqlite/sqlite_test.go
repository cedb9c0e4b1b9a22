package sqlite

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

func open1(t *testing.T, file string) *Store {
	t.Helper()
	s, err := Open(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	files := map[store.Store]string{}
	storetest.Run(t,
		func(t *testing.T) store.Store {
			file := filepath.Join(t.TempDir(), "collector.db")
			s := open1(t, file)
			files[s] = file
			return s
		},
		func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open1(t, files[s])
		})
}

func TestEveryCommitIsOnDisk(t *testing.T) {
	s := open1(t, filepath.Join(t.TempDir(), "a b?#%.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := s.write.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
	if _, err := s.read.Exec("DELETE FROM site"); err == nil {
		t.Error("a reading connection wrote")
	}
}

func TestAuditIsAppendOnly(t *testing.T) {
	s := open1(t, filepath.Join(t.TempDir(), "collector.db"))
	if err := s.Audit(t.Context(), store.Event{At: storetest.T0, Actor: "ops", Act: "x", Object: "y"}); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"DELETE FROM audit", "UPDATE audit SET actor = 'z'"} {
		if _, err := s.write.Exec(q); err == nil {
			t.Errorf("%s: done", q)
		}
	}
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, filepath.Join(dir, "collector.db"))
	if _, err := s.Ingest(t.Context(), "avocet-1", []store.Packed{storetest.Pack(t, storetest.Block("avocet-1", 1, 1))}, storetest.T0); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "copy.db")
	if err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
	if n, err := open1(t, file).CountBlocks(t.Context(), "avocet-1"); n != 1 || err != nil {
		t.Errorf("the copy has %d blocks (%v), want 1", n, err)
	}
	if err := s.Backup(t.Context(), file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing file: %v", err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	newer := filepath.Join(dir, "newer.db")
	s := open1(t, newer)
	if _, err := s.write.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database ", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{newer: "newer program", text: "not a database", filepath.Join(dir, "no", "dir.db"): "no such file"} {
		s, err := Open(t.Context(), file, slog.New(slog.DiscardHandler))
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(file), err, want)
		}
	}
}

func TestCloseEndsTheCheckpoints(t *testing.T) {
	s := open1(t, filepath.Join(t.TempDir(), "collector.db"))
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Close does not return")
	}
}
