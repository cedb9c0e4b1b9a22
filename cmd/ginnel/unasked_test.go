package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// TestUnaskedWordsStayOffStandardError checks a server that speaks before it is
// asked, of which net/http tells Go's default logger now and then.
func TestUnaskedWordsStayOffStandardError(t *testing.T) {
	root := t.TempDir()
	t.Setenv("GINNEL_ROOT", root)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "SSH-2.0-test\r\n")
			go func() { defer c.Close(); io.Copy(io.Discard, c) }()
		}
	}()
	file := filepath.Join(root, "etc", "ginnel", "desired.toml")
	text := fmt.Sprintf("gateway = \"avocet-1\"\n\n[[check]]\nname = \"web\"\nkind = \"http\"\ntarget = \"http://%v/\"\n", l.Addr())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	log.SetOutput(&raw)
	defer log.SetOutput(os.Stderr)
	for range 200 {
		var out, errs strings.Builder
		if code := ginnel(t.Context(), []string{"check", "run", "web"}, cli.IO{Out: &out, Err: &errs}); code != 2 || !strings.Contains(out.String(), "protocol") || errs.String() != "" {
			t.Fatalf("%d: %s%s", code, &out, &errs)
		}
	}
	if raw.Len() > 0 {
		t.Errorf("to standard error, raw: %s", &raw)
	}
}

// TestLibrariesSpeakThroughOurLog: what a library says is a line of ours, where
// somebody wants to see that much.
func TestLibrariesSpeakThroughOurLog(t *testing.T) {
	defer log.SetOutput(os.Stderr)
	for level, want := range map[slog.Level]string{slog.LevelInfo: "", slog.LevelDebug: "level=DEBUG msg=\"Unsolicited response\"\n"} {
		var out bytes.Buffer
		librariesTo(logger(&out, level))
		log.Print("Unsolicited response")
		if got := out.String(); !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("%v: %q, want %q", level, got, want)
		}
	}
}
