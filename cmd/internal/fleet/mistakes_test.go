package fleet

import (
	"errors"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
)

// TestFifty reads a fleet with fifty mistakes: fifty messages, each with its
// place, in the order of the files.
func TestFifty(t *testing.T) {
	_, err := Load("testdata/fifty")
	ps, ok := errors.AsType[config.Problems](err)
	if !ok {
		t.Fatalf("%v", err)
	}
	if len(ps) != 50 {
		t.Errorf("%d messages, want 50", len(ps))
	}
	for _, p := range ps {
		if p.File == "" || p.Line == 0 && p.Message != "is missing" {
			t.Errorf("without a place: %v", p)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if len(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("longer than 80 columns: %q", line)
		}
	}
	golden(t, "testdata/fifty.want", err.Error()+"\n")
}
