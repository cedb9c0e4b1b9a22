package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func TestFreeze(t *testing.T) {
	now := centre.Freeze{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			now = centre.Freeze{}
			json.NewDecoder(r.Body).Decode(&now)
			if !now.Until.IsZero() {
				now.By = "alice"
			}
		}
		json.NewEncoder(w).Encode(now)
	}))
	defer srv.Close()
	t.Setenv("GINNEL_COLLECTOR", srv.URL)
	day := time.Now().AddDate(0, 0, 30)
	frozen := "Frozen until " + day.Format("Mon 2 Jan") + " 08:00 by alice: new year\nEnd it: ginnelctl freeze --off\n"
	for _, c := range []struct {
		args []string
		out  string
		err  string
		code int
	}{
		{nil, "Nothing is frozen.\n", "", 0},
		{[]string{"--until", day.Format("2006-01-02") + " 08:00", "--why", "new year"}, frozen, "", 0},
		{nil, frozen, "", 0},
		{[]string{"--off"}, "Nothing is frozen.\n", "", 0},
		{[]string{"--until", "48h"}, "", "--why is missing", 2},
		{[]string{"--why", "x"}, "", "--until is missing", 2},
		{[]string{"--off", "--why", "x"}, "", "--off stands alone", 2},
		{[]string{"--until", "2020-01-01", "--why", "x"}, "", `"2020-01-01" is over`, 2},
		{[]string{"--until", "soon", "--why", "x"}, "", `"soon" is no time`, 2},
	} {
		out, errs, code := do(t.Context(), append([]string{"freeze"}, c.args...)...)
		if out != c.out || !strings.Contains(errs, c.err) || code != c.code {
			t.Errorf("%v: exit %d: %s%s", c.args, code, out, errs)
		}
	}
}

// TestPushWhileFrozen says so before it asks.
func TestPushWhileFrozen(t *testing.T) {
	b := newBench(t)
	b.freeze = centre.Freeze{Until: time.Now().AddDate(0, 0, 30), Why: "the year's end", By: "bob"}
	out, _ := b.do("n\n", "push", "--sign-with", b.key)
	if told, asked := strings.Index(out, " by bob: the year's end\nWhat is pushed now waits until then.\n"), strings.Index(out, "[y/N]"); told < 0 || asked < told {
		t.Errorf("told at %d, asked at %d:\n%s", told, asked, out)
	}
}

// TestAudit reads a log of more than one page to its end.
func TestAudit(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseInt(r.FormValue("after"), 10, 64)
		limit, _ := strconv.ParseInt(r.FormValue("limit"), 10, 64)
		acts := []centre.Act{}
		for id := after + 1; id <= min(after+limit, page+3); id++ {
			a := centre.Act{ID: id, At: time.Date(2026, 11, 23, 19, 4, 0, 0, time.UTC), Actor: "alice", From: "192.0.2.9", Act: "rollout started", Object: strconv.FormatInt(id, 10)}
			if id == page+3 {
				a.Detail, a.Old, a.New = "fleet \x1b[2J3f2a91c", "14", "15"
			}
			acts = append(acts, a)
		}
		json.NewEncoder(w).Encode(acts)
	}))
	defer srv.Close()
	t.Setenv("GINNEL_COLLECTOR", srv.URL)
	t.Setenv("TZ", "")
	out, errs, code := do(t.Context(), "audit", "-n", "2")
	at := time.Date(2026, 11, 23, 19, 4, 0, 0, time.UTC).Local().Format("2006-01-02 15:04:05")
	want := fmt.Sprintf("   502  %s  alice (192.0.2.9) rollout started 502\n   503  %s  alice (192.0.2.9) rollout started 503: fleet\n%29s?[2J3f2a91c\n        old  14\n        new  15\n", at, at, "")
	if d := cmp.Diff(want, out); d != "" || code != 0 {
		t.Errorf("exit %d: %s\n%s", code, errs, d)
	}
	out, _, _ = do(t.Context(), "audit", "-n", "0", "--json")
	if n := strings.Count(out, "\n"); n != page+3 || !strings.HasPrefix(out, `{"id":1,`) {
		t.Errorf("%d lines", n)
	}
}

// TestGitHead reads the commit in every way that git keeps it.
func TestGitHead(t *testing.T) {
	const hash = "3f2a91c0000000000000000000000000000000aa"
	put := func(dir, name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, lay := range map[string]func(dir string){
		"a branch": func(d string) {
			put(d, ".git/HEAD", "ref: refs/heads/main\n")
			put(d, ".git/refs/heads/main", hash+"\n")
		},
		"detached": func(d string) { put(d, ".git/HEAD", hash+"\n") },
		"packed": func(d string) {
			put(d, ".git/HEAD", "ref: refs/heads/main\n")
			put(d, ".git/packed-refs", "# pack-refs\n"+strings.Repeat("b", 40)+" refs/heads/other\n"+hash+" refs/heads/main\n")
		},
		"a worktree": func(d string) {
			put(d, ".git", "gitdir: real/worktrees/a\n")
			put(d, "real/worktrees/a/HEAD", "ref: refs/heads/a\n")
			put(d, "real/worktrees/a/commondir", "../..\n")
			put(d, "real/refs/heads/a", hash+"\n")
		},
	} {
		dir := t.TempDir()
		lay(dir)
		put(dir, "county/fleet.toml", "")
		if got := fleetName(filepath.Join(dir, "county"), "0123456789"); got != "fleet 3f2a91c.0123456" {
			t.Errorf("%s: %s", name, got)
		}
	}
	dir := t.TempDir()
	put(dir, ".git/HEAD", "ref: refs/heads/main\n") // no commit yet
	if got := fleetName(dir, "0123456789"); got != "fleet 0123456" {
		t.Errorf("before the first commit: %s", got)
	}
}
