package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// mute is a kind whose only target is silent.
func mute() checks.Kind {
	return checks.Kind{
		Name: "mute", Doc: "waits",
		Schema: checks.Schema{"loud": {Type: "bool", Doc: "whether it is loud", Default: false}, "times": {Type: "int", Doc: "how often", Default: 1}},
		New: func(checks.Target) (checks.Check, error) {
			return checks.Func(func(context.Context) checks.Result {
				return checks.Result{Start: time.Now(), Verdict: checks.Failed, Reason: checks.Timeout, Phase: checks.PhaseResponse, Detail: "no line", Sent: 1}
			}), nil
		},
	}
}

func TestVerifySaysWhatAnAuthorCanRead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options map[string]any
		want    string // of what is printed, without what is ok
	}{
		{"a good target that is silent", nil, `
  FAIL  good target
        got failed, reason timeout, phase response, detail "no line", 1 sent, 0
        received
  -     not tried: reusable: needs a --good that is good
  -     not tried: two at once: needs a --good that is good
  -     not tried: ended context: needs a --good that is good
  -     not tried: leaves nothing open: needs a --good that is good
  -     not tried: needs --refusing
  -     not tried: needs --silent
`},
		{"an option that there is not", map[string]any{"laud": "1"}, "\n  FAIL  options.laud: unknown option\n"},
		{"a word for a bool", map[string]any{"loud": "very"}, "\n  FAIL  loud: \"very\" is not true or false\n"},
		{"half a number", map[string]any{"times": "3x"}, "\n  FAIL  times: \"3x\" is not a number\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if verifyKind(t.Context(), cli.IO{Out: &out}, mute(), targets{good: "192.0.2.1:25"}, tt.options) {
				t.Error("it passed")
			}
			_, after, _ := strings.Cut(out.String(), "how often\n")
			var got []string
			for line := range strings.Lines("\n" + after) {
				if !strings.HasPrefix(line, "  ok ") {
					got = append(got, line)
				}
			}
			if text := strings.Join(got, ""); text != tt.want {
				t.Errorf("got %s\nwant %s", text, tt.want)
			}
		})
	}
}

// A kind that the program lacks would else be one that passes.
func TestVerifyOfAKindThatIsNotThere(t *testing.T) {
	if _, err := kindsNamed([]checks.Kind{mute()}, "muet"); err == nil || err.Error() != `--kind "muet": the program has no such kind` {
		t.Errorf("got %v", err)
	}
	if kinds, err := kindsNamed([]checks.Kind{mute()}, "mute"); err != nil || len(kinds) != 1 {
		t.Errorf("got %v, %v", kinds, err)
	}
}

// What a program writes is what tells its author why it ended.
func TestVerifyShowsWhatTheProgramSays(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(&said{w: &text}).With("plugin", "door")
	log.Info("the plugin says", "line", "kind \"door\": bad\x1b[2J default")
	log.Warn("a check plugin is not running; it is started again", "err", "ended")
	if want := "it says: kind \"door\": bad?[2J default\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}
