package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// The config names a file; what is in it counts at each reload, though the config
// is the same.
func TestPresharedKeyFileIsReadAtReload(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "kestrel.psk")
	put := func(text string) {
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "qO6gT1ZJvLdKp5cR8nWyXs3hBf0mUuEa7iVkYxNtD2A=", "AO6gT1ZJvLdKp5cR8nWyXs3hBf0mUuEa7iVkYxNtD2A="
	put(first)
	r := start(t, root, strings.Replace(site, "endpoints ", "preshared_key_file = \""+file+"\"\nendpoints ", 1))
	r.untilUp()
	has := func(text string) {
		t.Helper()
		want, err := key.ParsePreshared(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 { // the manager is asked, and works by itself
			if d := r.host.State().Devices; len(d) == 1 && d[0].Peers[0].PresharedKey.Equal(want) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("the peer has not got the key %s...", text[:4])
	}
	has(first)
	put(second)
	if err := r.agent.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	has(second)
}
