package plugin

import (
	"errors"
	"testing"
)

// TestWhatToDoAboutAProgram: what keeps a file from being run is told with what to
// do about it.
func TestWhatToDoAboutAProgram(t *testing.T) {
	for text, want := range map[string]string{
		"not a program\n":      "build it for this processor; a script begins with #! and its interpreter",
		"#!/nowhere/python3\n": "its whole path, as in #!/usr/bin/python3",
	} {
		s := set(t, "puppet")
		script(t, s, text)
		_, err := s.load(t, options())
		if e, ok := errors.AsType[*FileError](err); !ok || e.Hint != want {
			t.Errorf("%q: %v, hint %q; want %q", text, err, e.Hint, want)
		}
	}
}
