package builtin

import (
	"net"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/checks"
)

// TestTheStepThatFailedIsTold: a run that failed shows how far it came, and its
// last step says what happened.
func TestTheStepThatFailedIsTold(t *testing.T) {
	closed := nobody(t)
	garbage := serve(t, "127.0.0.1:0", func(c net.Conn) {
		c.Read(make([]byte, 512))
		c.Write([]byte("\x01\xffgarbage \x1b[2J" + strings.Repeat("and more ", 200) + "\n"))
	})
	noise := mirrorUDP(t, func([]byte) []byte { return []byte("\x00\x01\x02") })
	ask := map[string]any{"name": "records.example.net"}
	for _, test := range []struct {
		name   string
		kind   checks.Kind
		target checks.Target
		steps  int
		last   string // step
		says   string // in the step
		detail string // in the result
	}{
		{"tcp refused", TCP(), checks.Target{Address: closed}, 2, "connect " + closed, "connection refused", "connecting to " + closed + ": connection refused"},
		{"http refused", HTTP(), checks.Target{Address: "http://" + closed}, 2, "connect " + closed, "connection refused", "connection refused"},
		{"tls refused", TLS(), checks.Target{Address: closed}, 2, "connect " + closed, "connection refused", "connection refused"},
		{"tls garbage", TLS(), checks.Target{Address: garbage}, 3, "tls", "does not speak TLS", "does not speak TLS"},
		{"https garbage", HTTP(), checks.Target{Address: "https://" + garbage}, 3, "tls", "does not speak TLS", "does not speak TLS"},
		{"http garbage", HTTP(), checks.Target{Address: "http://" + garbage}, 3, "answer", "not understood", `: the answer is not HTTP, as in "\x1b[2Jand"`},
		{"dns garbage", DNS(), checks.Target{Address: noise, Timeout: short, Options: ask}, 2, "ask " + noise, "passed over 1 that came: the answer is not DNS", "no answer in time; passed over 1 that came"},
		{"ntp garbage", NTP(), checks.Target{Address: noise, Timeout: short}, 2, "ask " + noise, "asking: ", ""},
		{"no name", TCP(), checks.Target{Address: "absent.invalid:443"}, 1, "resolve absent.invalid", "", "absent.invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := check(t, test.kind, test.target)
			if len(r.Steps) != test.steps {
				t.Fatalf("steps %+v, want %d", r.Steps, test.steps)
			}
			last := r.Steps[len(r.Steps)-1]
			if r.Verdict != checks.Failed || last.Name != test.last || !strings.Contains(last.Detail, test.says) || !strings.Contains(r.Detail, test.detail) {
				t.Errorf("%s: %s; last step %+v", r.Verdict, r.Detail, last)
			}
			if last.Detail == "" || strings.HasPrefix(last.Detail, "connecting to") {
				t.Errorf("the step says %q", last.Detail)
			}
			if len(r.Detail) > 160 {
				t.Errorf("a detail of %d bytes", len(r.Detail))
			}
		})
	}
}
