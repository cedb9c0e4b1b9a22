package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What went with a device of ours is forgotten with the next thing that is put
// back, also where nobody could forget it at once: nothing stays behind.
func TestWhatWentWithADeviceIsForgotten(t *testing.T) {
	const lo = "net/ipv4/conf/lo/forwarding"
	value, err := readSysctl(lo)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sysctls.json")
	s, err := loadSettings(file)
	if err != nil {
		t.Fatal(err)
	}
	s.former = map[string]string{lo: value, "net/ipv4/conf/gn-gone-n1/forwarding": "0"}
	if err := s.restore(lo); err != nil { // it is as it was: nothing is written to it
		t.Fatal(err)
	}
	if _, err := os.Stat(file); len(s.former) > 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remembered still: %v, file: %v", s.former, err)
	}
}
