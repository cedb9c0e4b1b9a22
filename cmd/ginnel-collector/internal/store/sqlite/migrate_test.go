package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

// TestFileOfVersion1 opens a file as the first version left it.
func TestFileOfVersion1(t *testing.T) {
	file := filepath.Join(t.TempDir(), "collector.db")
	db, err := open(file, 1, "&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	all, err := steps()
	if err != nil {
		t.Fatal(err)
	}
	if err := migrateTo(t.Context(), db, all[:1]); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO site VALUES ('avocet', 'Avocet Surgery', '', 'avocet-1', '["kestrel"]', 1)`,
		`INSERT INTO audit (at, actor, act, object, detail) VALUES (1000000, 'sam', 'site add', 'avocet', 'x')`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is of today's version already
		s := open1(t, file)
		got, err := s.Events(t.Context(), 5)
		if err != nil {
			t.Fatal(err)
		}
		want := []store.Event{{ID: 1, At: fromMicros(1e6), Actor: "sam", Act: "site add", Object: "avocet", Detail: "x"}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if site, err := s.Site(t.Context(), "avocet"); err != nil || site.Name != "Avocet Surgery" {
			t.Errorf("%+v, %v", site, err)
		}
		if _, err := s.write.Exec("DELETE FROM audit"); err == nil {
			t.Error("its audit log is no longer append-only")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open1(t, file)
	if err := s.Audit(t.Context(), store.Event{At: storetest.T0, Actor: "sam", From: "192.0.2.1", Old: "a", New: "b"}); err != nil {
		t.Error(err)
	}
}

func TestAStepThatFailsChangesNothing(t *testing.T) {
	db, err := open(filepath.Join(t.TempDir(), "collector.db"), 1, "&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, err := steps()
	if err != nil {
		t.Fatal(err)
	}
	bad := append(all[:len(all):len(all)], step{len(all) + 1, "bad.sql", "CREATE TABLE half (a); CREATE TABLE site (b);"})
	if err := migrateTo(t.Context(), db, bad); err == nil || !strings.Contains(err.Error(), "bad.sql") {
		t.Errorf("%v, want the step's name", err)
	}
	var n int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d objects are left (%v), want 0", n, err)
	}
}
