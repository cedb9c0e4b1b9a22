package config

import (
	"os"
	"regexp"
	"testing"
)

// TestHostFileHasEveryKey: who opens the packaged ginnel.toml finds each key
// there, commented out.
func TestHostFileHasEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../packaging/etc/ginnel.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range hostKeys {
		if !regexp.MustCompile(`(?m)^# ` + key + ` = .`).Match(text) {
			t.Errorf("%s is not there", key)
		}
	}
	uncommented := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`).ReplaceAll(text, []byte("$1"))
	if _, err := ParseHost("ginnel.toml", uncommented); err != nil {
		t.Errorf("what it shows is refused: %v", err)
	}
}
