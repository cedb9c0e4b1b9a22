package plan_test

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/cmd/internal/plan"
)

// TestFileCannotHide: a file whose words were changed shows what its texts do.
func TestFileCannotHide(t *testing.T) {
	raw, err := looks(t).plan(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse([]byte(strings.ReplaceAll(string(raw), `"+ check records-tls on kestrel"`, `"~ nothing to speak of"`)))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Summary(false); strings.Contains(got, "nothing to speak of") || !strings.Contains(got, "+ check records-tls on kestrel") {
		t.Errorf("shown as\n%s", got)
	}
}

// FuzzParse reads a file from anywhere, and shows and signs what it reads.
func FuzzParse(f *testing.F) {
	c := newCounty()
	c.runs(f, "avocet-1", "avocet", 1, site("avocet-1", 7, ""), site("avocet-1", 7, records))
	raw, err := c.plan(f).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"ginnel_plan":1,"rollout":{"rings":["hubs"]},"wanted":{"a":["b"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := plan.Parse(raw)
		if err != nil {
			return
		}
		p.Summary(true)
		p.Keys(keyOf)
		p.Moved(c.in.States, none)
		if _, err := p.NewRollout(true, func(text []byte) ([]byte, error) { return text, nil }); err != nil {
			t.Error(err)
		}
	})
}
