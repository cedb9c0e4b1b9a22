package main

import (
	"os"
	"strings"
	"testing"
)

// TestFolderOfSomebodyElse: who is refused a folder is told whose it is.
func TestFolderOfSomebodyElse(t *testing.T) {
	mine, open, me := t.TempDir(), t.TempDir(), 4471
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(open, me, me); err != nil {
			t.Fatal(err)
		}
	} else {
		me = os.Getuid()
	}
	for _, c := range []struct {
		dir  string
		uid  int
		want string // a part; empty: it may be used
	}{
		{mine, os.Getuid(), ""},
		{mine, 4472, mine + " is there already, and is "},
		{open, me, open + " may be written to by everybody"},
	} {
		if err := writable(c.dir, c.uid); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for user %d: %v, want %q", c.dir, c.uid, err, c.want)
		}
	}
}
