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
		kinds, err := s.load(t, options())
		if len(kinds) != 1 || kinds[0].Doc != "its program is not there" {
			t.Errorf("%q: kinds %+v", text, kinds)
		}
		if e, ok := errors.AsType[*FileError](err); !ok || e.Hint != want {
			t.Errorf("%q: %v, hint %q; want %q", text, err, e.Hint, want)
		}
	}
}

// TestWhatToDoAboutAName: a kind that is built in, or offered already, is told with
// what to do about it.
func TestWhatToDoAboutAName(t *testing.T) {
	s := set(t, "puppet")
	o := options()
	o.Reserved = func(kind string) bool { return kind == "puppet" }
	_, err := s.load(t, o)
	if e, ok := errors.AsType[*FileError](err); !ok || e.Hint != "give it a name of its own" {
		t.Errorf("%v, hint %q", err, e.Hint)
	}
}

func TestWhatAnExecKindIsFor(t *testing.T) {
	s := offerScript(t, "exit 0", "")
	kinds, err := s.load(t, options())
	if err != nil || len(kinds) != 1 {
		t.Fatalf("%d kinds, %v", len(kinds), err)
	}
	if want := "runs " + s.program + " and takes its exit status and figures"; kinds[0].Doc != want {
		t.Errorf("doc %q, want %q", kinds[0].Doc, want)
	}
}
