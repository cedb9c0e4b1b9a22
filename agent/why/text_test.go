package why

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || got != string(want) {
		t.Errorf("%s differs (%v); got:\n%s", name, err, got)
	}
}

// kept is the evidence at avocet, the newest first: beside, of heron, of a day before.
var kept = []Evidence{
	{ID: "20261124T140233-0b1c2d3e", Name: "internet", At: noon.Add(-10 * time.Minute)},
	{ID: "20261124T135502-9f3a01c7", Name: "heron/hub-south", Network: "heron", At: cut},
	{ID: "20261123T080210-5e6f7a8b", Name: "heron/hub-south", Network: "heron", At: noon.Add(-30 * time.Hour)},
}

func TestTexts(t *testing.T) {
	for _, c := range []struct {
		file, of string
		act      func(*Facts)
	}{
		{"hub-silent", "heron", func(f *Facts) { down(f); f.Evidence = kept }},
		{"site-up", "", func(f *Facts) { f.Evidence = kept[2:] }},
		{"site-hub-silent", "", func(f *Facts) { down(f) }},
		{"no-carrier", "", func(f *Facts) { allDown(f); f.WAN.Links[0].Carrier, f.WAN.Gateways = false, nil }},
		{"waits", "heron", func(f *Facts) { allDown(f); f.WAN.Links[0].Carrier, f.WAN.Gateways = false, nil }},
	} {
		f := avocet()
		c.act(&f)
		r, err := Explain(f, c.of)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", c.file+".txt"), r.Text(time.UTC))
	}
}

func TestRequestText(t *testing.T) {
	f := avocet()
	down(&f)
	r, _ := Explain(f, "heron")
	golden(t, "testdata/request.txt", r.RequestText(time.UTC))
}

// The technician's terminal is 80 columns of ASCII.
func TestNoTextIsTooWide(t *testing.T) {
	for _, c := range cases {
		f := avocet()
		c.act(&f)
		r, _ := Explain(f, c.of)
		var b strings.Builder
		b.WriteString(r.Text(time.UTC))
		if r.Request != nil {
			b.WriteString(r.RequestText(time.UTC))
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimRight(line, "\n")
			if len(line) > 80 || strings.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
				t.Errorf("%s: %d columns, or not ASCII: %q", c.code, len(line), line)
			}
		}
	}
}

func TestCodesAreUniqueWellFormedAndTried(t *testing.T) {
	form := regexp.MustCompile(`^GN-(LINE|HOST|CONF|DEV|ADDR|RULE|ROUTE|FILT|NAME|CLOCK|HUB|PROBE|SVC|COLL)-\d\d$`)
	owners := map[Owner]bool{Line: true, Site: true, Centre: true, Service: true, Supplier: true}
	seen, tried := map[Code]bool{}, map[Code]bool{ConfigHeld: true} // by TestHeldConfig: there no step fails
	for _, c := range cases {
		tried[c.code] = true
	}
	for _, e := range Codes {
		if seen[e.Code] || !form.MatchString(string(e.Code)) {
			t.Errorf("%s is there twice, or is no code", e.Code)
		}
		if e.Means == "" || e.Who == "" || !owners[e.Owner] {
			t.Errorf("%s: %+v says not what it means, whose it is or who is to be told", e.Code, e)
		}
		if !tried[e.Code] {
			t.Errorf("%s: no test breaks anything so that it is said", e.Code)
		}
		seen[e.Code] = true
	}
	for code := range tried {
		if !seen[code] {
			t.Errorf("%s is not in the list", code)
		}
	}
}

func TestCodesAreDocumented(t *testing.T) {
	var b strings.Builder
	if err := WriteCodes(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "../../packaging/CODES.md", b.String())
}

func TestSay(t *testing.T) {
	for at, want := range map[string]string{
		"14:12": "twelve past two", "00:00": "twelve o'clock", "12:30": "half past twelve", "09:15": "quarter past nine",
		"11:45": "quarter to twelve", "23:35": "twenty five to twelve", "13:29": "twenty nine past one",
	} {
		clock, err := time.Parse("15:04", at)
		if err != nil {
			t.Fatal(err)
		}
		if got := clockWords(clock); got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
	if got := fmt.Sprint(spell("egret-12"), "; ", spellCode(HubSilent)); got != "egret one two; G N HUB zero two" {
		t.Errorf("%q", got)
	}
}

// The evidence is of what is broken, also where something else was later.
func TestEvidenceIsOfWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		of, want string
		act      func(*Facts)
	}{
		{"", "20261124T135502-9f3a01c7", func(f *Facts) { down(f) }},
		{"", "20261124T140233-0b1c2d3e", check(2, checks.Timeout)},
		{"", "20261124T140233-0b1c2d3e", func(*Facts) {}},
		{"heron", "20261124T135502-9f3a01c7", func(f *Facts) { down(f) }},
		{"heron", "20261124T081500-77aa01bb", check(1, checks.Timeout)},
		{"kestrel", "", func(*Facts) {}},
	} {
		f := avocet()
		f.Evidence = append(kept[:2:2], Evidence{ID: "20261124T081500-77aa01bb", Name: "results", Network: "heron", At: cut.Add(-5 * time.Hour)}, kept[2])
		c.act(&f)
		r, err := Explain(f, c.of)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if r.Evidence != nil {
			got = r.Evidence.ID
		}
		if got != c.want {
			t.Errorf("%q, %s: %s, want %s", c.of, r.Headline, got, c.want)
		}
	}
}
