package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"github.com/ginnel/ginnel/checks/plugin"
)

// TestMain makes the test's own program the plugin when an agent starts it.
func TestMain(m *testing.M) {
	if os.Getenv("GINNEL_CHECK_PLUGIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestSuite runs what every kind passes, with the kind built in and as a plugin.
func TestSuite(t *testing.T) {
	for _, c := range []struct {
		name string
		kind func(t *testing.T) checks.Kind
	}{
		{"built in", func(*testing.T) checks.Kind { return Banner() }},
		{"plugin", asPlugin},
	} {
		t.Run(c.name, func(t *testing.T) {
			checktest.Run(t, checktest.Subject{
				Kind:     c.kind(t),
				Good:     checks.Target{Address: greeter(t, "SSH-2.0-test\r\n"), Options: map[string]any{"expect": "SSH-", "bye": "QUIT"}},
				Timed:    true,
				Refusing: &checks.Target{Address: nobody(t)},
				Silent:   &checks.Target{Address: greeter(t, "")},
			})
		})
	}
}

// TestVerdicts asks for more than the suite knows of.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name, says, expect string
		verdict            checks.Verdict
		reason             checks.Reason
	}{
		{"wanted", "220 mail.example.net\r\n", "220", checks.OK, checks.NoReason},
		{"any", "hello\n", "", checks.OK, checks.NoReason},
		{"no end of line", "SSH-2.0", "SSH-", checks.OK, checks.NoReason},
		{"other", "554 go away\r\n", "220", checks.Failed, checks.Assertion},
		{"hangs up", "-", "", checks.Failed, checks.Protocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			for kind, k := range map[string]checks.Kind{"built in": Banner(), "plugin": asPlugin(t)} {
				check, err := k.Make(checks.Target{Address: greeter(t, c.says), Timeout: 20 * time.Second,
					Options: map[string]any{"expect": c.expect}})
				if err != nil {
					t.Fatal(err)
				}
				if r := check.Run(t.Context()); r.Verdict != c.verdict || r.Reason != c.reason {
					t.Errorf("%s: %+v", kind, r)
				}
			}
		})
	}
}

// asPlugin offers this program and loads it as an agent does.
func asPlugin(t *testing.T) checks.Kind {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "ginnel-check-banner")
	sum := copyProgram(t, program)
	offer := fmt.Sprintf("kind = \"banner\"\npath = %q\nsha256 = %q\n", program, sum)
	if err := os.WriteFile(filepath.Join(dir, "banner.toml"), []byte(offer), 0o644); err != nil {
		t.Fatal(err)
	}
	kinds, err := plugin.Load(t.Context(), dir, plugin.Options{Owner: uint32(os.Getuid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kinds[0].Close() })
	return kinds[0]
}

func copyProgram(t *testing.T, to string) (sum string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	if _, err = io.Copy(io.MultiWriter(out, hash), from); err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// greeter says a line to everyone who connects and waits until they hang up;
// with "-" it hangs up itself, with nothing it is silent. It does not hang up
// after a line without an end only.
func greeter(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if says == "-" {
					return
				}
				io.WriteString(c, says)
				if says == "" || says[len(says)-1] == '\n' {
					io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	return l.Addr().String()
}

func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
