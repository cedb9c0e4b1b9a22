package report

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/ginnel/ginnel/agent/block/report"
)

// november is the report of looks, with a name that is not to be believed.
func november() *report.Report {
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 11, day, hour, minute, 0, 0, time.UTC) }
	return &report.Report{
		Site: "avocet", Name: `Avocet <script>alert(1)</script> Surgery`, Gateway: "avocet-1", Month: "2026-11", Zone: "Europe/London",
		From: at(1, 0, 0), To: at(30, 24, 0), Whole: true, Hours: "gp-core", Coverage: 9998, Blocks: 43191, Thinned: 3,
		Services: []report.Service{
			{Name: "Patient records", Short: "records", Up: 9997, Down: 1, Unknown: 2, RTT: &report.RTT{Count: 9, P50: 0.011, P95: 0.015}},
			{Name: "Hospital results", Short: "results", Up: 9990, Down: 8, Unknown: 2, DownOpen: 1860},
		},
		Outages: []report.Outage{
			{From: at(24, 13, 55), To: at(24, 14, 26), DownFor: 1860, Times: 1, Stopped: []string{"results"}, Step: "hub-south did not answer", Code: "GN-HUB-02", Owner: "centre"},
			{From: at(12, 2, 10), To: at(12, 2, 14), DownFor: 240, Times: 2, Stopped: []string{"records", "results"}, All: true, Step: "<img src=x>"},
		},
		Unwatched: []report.Gap{{From: at(8, 3, 12), To: at(8, 3, 21), Reason: "gateway off"}},
	}
}

func render(t *testing.T, r *report.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := Page(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPageSaysWhatTheTextSays(t *testing.T) {
	page := render(t, november())
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "report.html"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(plain(doc)), " ")
	for _, want := range []string{
		"Avocet <script>alert(1)</script> Surgery, November 2026 (Europe/London)", "There were 2 outages.",
		"Patient records 99.97 % 0.01 % 0.02 % 0.00 % 0 minutes", "Hospital results 99.90 % 0.08 % 0.02 % 0.00 % 31 minutes",
		"Tue 24 13:55-14:26 31 min results hub-south did not answer (GN-HUB-02) centre",
		"Thu 12 02:10-02:14 4 min everything <img src=x> (2 times) not known",
		"Round trip to records: half within 11 ms, 95 of 100 within 15 ms.",
		"We measured 99.98 % of the month.", "Of 3 stretches only sums were kept", "Sun 8 03:12-03:21, gateway off",
		"not made, endorsed or approved by the NHS",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
}

// TestPageIsForEveryone holds what can be counted of WCAG 2.2 AA, and that the
// page needs nothing but itself.
func TestPageIsForEveryone(t *testing.T) {
	for name, r := range map[string]*report.Report{"november": november(), "empty": {Name: "Egret", Zone: "Europe/London"}} {
		page := render(t, r)
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		walk(doc, func(n *html.Node) {
			count[n.Data]++
			for _, a := range n.Attr {
				if a.Key == "src" || a.Key == "href" || a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s: <%s %s=%q>", name, n.Data, a.Key, a.Val)
				}
			}
			switch n.Data {
			case "html":
				if attr(n, "lang") != "en-GB" {
					t.Errorf("%s: language is %q", name, attr(n, "lang"))
				}
			case "th":
				if s := attr(n, "scope"); s != "col" && s != "row" {
					t.Errorf("%s: heading %q has no scope", name, plain(n))
				}
			case "svg":
				if attr(n, "aria-hidden") != "true" {
					t.Errorf("%s: a bar is read aloud as nothing", name)
				}
			case "script", "link", "img", "iframe", "form":
				t.Errorf("%s: <%s>", name, n.Data)
			}
			if id := attr(n, "aria-labelledby"); id != "" && !strings.Contains(page, fmt.Sprintf("id=%q", id)) {
				t.Errorf("%s: nothing has the id %q", name, id)
			}
		})
		if count["h1"] != 1 || count["main"] != 1 || count["title"] != 1 || count["table"] != count["caption"] {
			t.Errorf("%s: %v", name, count)
		}
		if strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "url(") || strings.Contains(page, "@import") {
			t.Errorf("%s: the page refers to another", name)
		}
	}
}

// TestContrast: text has at least 4.5 to 1 on both grounds, the parts of a bar
// at least 3 to 1 against the sheet (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	colours := map[string]float64{}
	for _, m := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{3,6})`).FindAllStringSubmatch(source, -1) {
		colours[m[1]] = luminance(t, m[2])
	}
	for name, least := range map[string]float64{
		"ink": 4.5, "soft": 4.5, "brand": 4.5, "down": 4.5, "up": 3, "unknown": 3, "maintenance": 3, "line": 3,
	} {
		for _, ground := range []string{"sheet", "ground"} {
			a, b := colours[name], colours[ground]
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < least {
				t.Errorf("%s on %s: %.2f, at least %v is wanted", name, ground, ratio, least)
			}
		}
	}
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	v, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(c uint64) float64 {
		s := float64(c&255) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(v>>16) + 0.7152*channel(v>>8) + 0.0722*channel(v)
}

func walk(n *html.Node, visit func(*html.Node)) {
	if n.Type == html.ElementNode {
		visit(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, visit)
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// plain is what a reader sees, or hears.
func plain(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	if n.Data == "style" {
		return ""
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(plain(c))
		if c.Type == html.ElementNode && c.Data != "span" && c.Data != "time" {
			b.WriteString(" ")
		}
	}
	return b.String()
}
