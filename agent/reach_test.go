package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A host that asks itself depends on those whom systemd-resolved asks.
func TestResolvers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	upstream := write("upstream", "nameserver 192.0.2.53\nnameserver 127.0.0.1\nnameserver 2001:db8::53\n")
	for text, want := range map[string]string{
		"# none\noptions edns0\nnameserver\nnameserver x\n":    "[]",
		"nameserver 198.51.100.53\n":                           "[198.51.100.53]",
		"nameserver 127.0.0.53\nnameserver 127.0.0.54\n":       "[192.0.2.53 2001:db8::53]",
		"nameserver 198.51.100.53\nnameserver ::1\nsearch x\n": "[198.51.100.53 192.0.2.53 2001:db8::53]",
	} {
		if got := resolvers(write("resolv.conf", text), upstream); fmt.Sprint(got) != want {
			t.Errorf("%q: %v, want %s", text, got, want)
		}
	}
	self := write("self", "nameserver 127.0.0.1\n")
	for _, upstream := range []string{self, filepath.Join(dir, "nothing")} {
		if got := resolvers(self, upstream); len(got) > 0 {
			t.Errorf("asking itself: %v", got)
		}
	}
	if got := resolvers(filepath.Join(dir, "nothing"), upstream); len(got) > 0 {
		t.Errorf("without the file: %v", got)
	}
}
