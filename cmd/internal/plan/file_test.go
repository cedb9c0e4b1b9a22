package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/cmd/internal/plan"
)

// TestFile: a plan is the same after it was a file, and shows the same.
func TestFile(t *testing.T) {
	c := looks(t)
	p := c.plan(t)
	raw, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := plan.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if back.Summary(true) != p.Summary(true) || !strings.Contains(string(raw), `"target = \"198.51.100.20:443\""`) {
		t.Errorf("shown as\n%s", back.Summary(true))
	}
	if moved := back.Moved(c.in.States, none); len(moved) > 0 {
		t.Errorf("nothing moved: %v", moved)
	}
	var signed []string
	r, err := back.NewRollout(false, func(text []byte) ([]byte, error) { signed = append(signed, hashOf(text)); return text, nil })
	if err != nil || len(r.Pushes) != 12 || len(signed) != 12+11 || r.Pushes[0].Gateway != "hub-north" || r.Pushes[0].Ring != 0 {
		t.Errorf("%d pushes, %d signed, %v", len(r.Pushes), len(signed), err)
	}
	r, err = back.NewRollout(true, func(text []byte) ([]byte, error) { return text, nil })
	if err != nil || !slices.Equal(r.Rings, []string{"hubs", "all"}) || r.Pushes[11].Ring != 1 || r.Pushes[0].Ring != 0 {
		t.Errorf("without rings: %v, %v", r.Rings, err)
	}
	no := errors.New("no")
	if _, err := back.NewRollout(false, func([]byte) ([]byte, error) { return nil, no }); !errors.Is(err, no) {
		t.Errorf("a signer that fails: %v", err)
	}
}

// TestBadFile refuses a file that is no plan of ours.
func TestBadFile(t *testing.T) {
	raw, err := looks(t).plan(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":            {"fleet", "this is not a plan"},
		"of a newer program": {strings.Replace(good, `"ginnel_plan": 1`, `"ginnel_plan": 2`, 1), "has format 2"},
		"another gateway":    {strings.Replace(good, `"gateway": "site001-1"`, `"gateway": "site002-1"`, 1), "site002-1: the text is for site001-1"},
		"another generation": {strings.Replace(good, `"generation = 15"`, `"generation = 99"`, 1), "is of generation 99, not 15"},
		"twice":              {strings.Replace(strings.Replace(good, `"gateway": "site001-1"`, `"gateway": "site000-1"`, 1), `"gateway = \"site001-1\""`, `"gateway = \"site000-1\""`, 2), "site000-1 is in it twice"},
		"no such ring":       {strings.Replace(good, `"ring": 2`, `"ring": 9`, 1), "is in ring 9 of 5"},
		"no rings":           {strings.Replace(good, `"rings": [`, `"rungs": [`, 1), "it has no rings"},
		"no config":          {strings.Replace(good, `"[[check]]"`, `"[[chick]]"`, 1), "unknown key"},
	} {
		if _, err := plan.Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

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
	p, err = plan.Parse([]byte(strings.NewReplacer(`"network kestrel"`, `"x"`, `"needs": [`, `"needs": ["x",`).Replace(string(raw))))
	if err != nil {
		t.Fatal(err)
	}
	fulmar, _ := p.Change("fulmar-1")
	hub, _ := p.Change("hub-north")
	if fmt.Sprint(fulmar.Needs, hub.Apart) != "[hub-north] [network kestrel]" {
		t.Errorf("needs %v, apart %v", fulmar.Needs, hub.Apart)
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
