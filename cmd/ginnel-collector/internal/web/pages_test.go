package web

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// page is a parsed answer.
type page struct {
	*testing.T
	root *html.Node
}

func (d *desk) page(path string, status int) page {
	d.Helper()
	got, body, header := d.get(path)
	if got != status || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		d.Fatalf("%s: %d %s\n%s", path, got, header.Get("Content-Type"), body)
	}
	root, err := html.Parse(strings.NewReader(body))
	must(d, err)
	return page{d.T, root}
}

// all gives the elements of a name.
func (p page) all(name string) []*html.Node {
	var found []*html.Node
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is what a person reads, in single spaces.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// rows gives the table rows' texts.
func (p page) rows() []string {
	var all []string
	for _, tr := range p.all("tr") {
		all = append(all, text(tr))
	}
	return all
}

func (p page) want(where, want string, texts []string) {
	p.Helper()
	if !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, want) }) {
		p.Errorf("no %q in the %s:\n%s", want, where, strings.Join(texts, "\n"))
	}
}

// sound holds what every page must have for people who do not see it, or see
// no colours, or have no script.
func (p page) sound() {
	p.Helper()
	if attr(p.all("html")[0], "lang") == "" || len(p.all("h1")) != 1 || len(p.all("main")) != 1 || text(p.all("title")[0]) == "" {
		p.Error("lang, one h1, one main and a title are needed")
	}
	for _, th := range p.all("th") {
		if s := attr(th, "scope"); s != "col" && s != "row" {
			p.Errorf("th %q has scope %q", text(th), s)
		}
	}
	for _, span := range p.all("span") {
		if class := strings.Fields(attr(span, "class")); len(class) > 0 && class[0] == "state" && !strings.Contains(text(span), class[1]) {
			p.Errorf("state %s is not said in words: %q", class[1], text(span))
		}
	}
	for _, svg := range p.all("svg") {
		if attr(svg, "aria-hidden") != "true" && (attr(svg, "role") != "img" || attr(svg, "aria-label") == "") {
			p.Error("a picture without words")
		}
	}
	ids := map[string]bool{}
	for n := range p.root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				p.Errorf("id %q is there twice", id)
			}
			ids[id] = true
		}
		if attr(n, "style") != "" || n.Data == "style" || (n.Data == "script" && attr(n, "src") == "") {
			p.Errorf("%s has style or script within the page, which its policy forbids", n.Data)
		}
	}
}

func TestSitesPage(t *testing.T) {
	d := county(t)
	p := d.page("/", 200)
	p.sound()
	rows := p.rows()
	for i, want := range []string{"State Since Site", "✕ down 13:55 Dunlin House dunlin heron is down: hub-south does not answer GN-HUB-02 1/2 1/1 1 s ago",
		"▲ degraded 13:55 Avocet Surgery", "? unknown 14:10 Bittern Practice bittern bittern-1 is silent", "? unknown - Egret Hospital egret egret-1 is not enrolled yet",
		"◆ maintenance 13:55 Fulmar", "● up 13:55 Curlew Clinic curlew 1/1 1/1 89 s ago"} {
		if i >= len(rows) || !strings.HasPrefix(rows[i], want) {
			t.Fatalf("row %d is not %q:\n%s", i, want, strings.Join(rows, "\n"))
		}
	}
	if got := text(p.all("title")[0]); got != "1 down - Sites - Ginnel" {
		t.Errorf("title %q", got)
	}
	p.want("tally", "2 ? unknown", []string{text(p.all("ul")[1])})
	if !strings.Contains(text(p.all("noscript")[0])+attrOfRefresh(p), "refresh") {
		t.Error("without script the page does not update itself")
	}
	still := d.page("/?still", 200)
	if len(still.all("noscript")) != 0 || len(still.all("script")) != 0 {
		t.Error("a page that is to hold still updates itself")
	}
}

// attrOfRefresh gives the meta element within noscript, which the parser may
// leave as text or as an element.
func attrOfRefresh(p page) string {
	for _, m := range p.all("meta") {
		if attr(m, "http-equiv") != "" {
			return attr(m, "http-equiv")
		}
	}
	return ""
}

func TestSitePage(t *testing.T) {
	d := county(t)
	at := now.Add(-17 * time.Minute)
	d.hour("avocet-1", block.Edge{At: at, Class: block.CheckClass, Name: "records", From: checks.Up, To: checks.Down})
	p := d.page("/sites/avocet", 200)
	p.sound()
	p.want("tables", "kestrel hub-north ● up Mon 08:12 41 s 11.2 / 14.0 ms 0.0 %", p.rows())
	p.want("tables", "heron hub-south ✕ down 13:55 - - -", p.rows())
	p.want("tables", "hub-south does not answer GN-HUB-02", p.rows())
	p.want("tables", "records Patient records kestrel ● up Mon 08:12 11.2 / 14.0 ms 0.0 % 198.51.100.20:443", p.rows())
	main := text(p.all("main")[0])
	for _, want := range []string{"Avocet Surgery ▲ degraded since 13:55 heron is down: hub-south does not answer", "Agent 0.1.0, kernel WireGuard", "November 2026 , so far", "September 2026"} {
		p.want("page", want, []string{main})
	}
	var pictures []string
	for _, svg := range p.all("svg") {
		pictures = append(pictures, attr(svg, "aria-label"))
	}
	p.want("pictures", "kestrel to hub-north: half within", pictures)
	p.want("pictures", "records, 198.51.100.20:443: half within", pictures)
	p.want("pictures", "; down for 17 min", pictures)

	silent := text(d.page("/sites/bittern", 200).all("main")[0])
	if !strings.Contains(silent, "Not heard of since 14:10 . What follows is as it was then, when the gateway said ● up") {
		t.Error(silent)
	}
	d.page("/sites/egret", 200).sound()
}

func TestPageWithoutWhatIsThere(t *testing.T) {
	d := newDesk(t)
	p := d.page("/", 200)
	p.sound()
	p.want("page", "No site is known yet", []string{text(p.all("main")[0])})
	for _, path := range []string{"/sites/nobody", "/nowhere"} {
		d.page(path, 404).sound()
	}
	must(t, d.store.Close())
	d.page("/", 500).sound()
}

// TestForeignText shows what a gateway says of itself as text, whatever it is.
func TestForeignText(t *testing.T) {
	d := newDesk(t)
	d.site("avocet", `<b>"Avocet"</b>`, checks.State("<i>odd</i>"), time.Second)
	snap := snapshot("avocet", "", checks.State(`"><script>x</script>`))
	nan := math.MaxFloat64
	snap.Headline, snap.Checks[0].Target, snap.Tunnels[0].HandshakeAge = "<script>alert(1)</script>", `" onload="x`, &nan
	must(t, d.store.SaveSnapshot(t.Context(), "avocet-1", snap, now))
	for _, path := range []string{"/", "/sites/avocet"} {
		p := d.page(path, 200)
		p.sound()
		if n := len(p.all("script")); n != 1 {
			t.Errorf("%s: %d scripts", path, n)
		}
		p.want("page", "? unknown", []string{text(p.all("main")[0])})
	}
	s := series{subject: subject{block.CheckClass, `<x>`}, Target: `"`}
	s.points = []point{{at: now, length: time.Minute, p50: time.Millisecond, p95: time.Millisecond}}
	if c := s.draw(now.Add(-time.Hour), now); strings.Contains(string(c.SVG), "<x>") {
		t.Error(c.SVG)
	}
}

func TestChartLeavesHolesOpen(t *testing.T) {
	var s series
	for _, m := range []int{0, 1, 2, 10, 11, 30} {
		s.points = append(s.points, point{now.Add(time.Duration(m) * time.Minute), time.Minute, 10 * time.Millisecond, 12 * time.Millisecond})
	}
	if got := s.runs(); len(got) != 3 || len(got[0]) != 3 || len(got[1]) != 2 || len(got[2]) != 1 {
		t.Errorf("%d runs: %v", len(got), got)
	}
	svg := string(s.draw(now, now.Add(time.Hour)).SVG)
	if strings.Count(svg, "<polyline") != 3 {
		t.Error(svg)
	}
	for _, points := range regexp.MustCompile(`points="([^"]*)"`).FindAllStringSubmatch(svg, -1) {
		for pair := range strings.FieldsSeq(points[1]) {
			x, y, _ := strings.Cut(pair, ",")
			fx, err1 := strconv.ParseFloat(x, 64)
			fy, err2 := strconv.ParseFloat(y, 64)
			if err1 != nil || err2 != nil || fx < left || fx > right || fy < above || fy > below {
				t.Errorf("point %s is outside the plot", pair)
			}
		}
	}
	for most, want := range map[time.Duration]time.Duration{0: time.Millisecond, 14 * time.Millisecond: 20 * time.Millisecond, 41 * time.Millisecond: 50 * time.Millisecond, 3 * time.Second: 4 * time.Second} {
		s.points = []point{{p95: most}}
		if got := s.top(); got != want {
			t.Errorf("scale of %v ends at %v, want %v", most, got, want)
		}
	}
}

// TestChartBeforeTheFirstBlock is drawn from the snapshots, until blocks know
// better.
func TestChartBeforeTheFirstBlock(t *testing.T) {
	d := newDesk(t)
	d.site("avocet", "Avocet Surgery", checks.Up, 0)
	r := d.server.view.store
	for i := range 2 * keptSnapshots {
		snap := snapshot("avocet", "Avocet Surgery", checks.Up)
		snap.At = now.Add(time.Duration(i-2*keptSnapshots) * 30 * time.Second)
		must(t, r.SaveSnapshot(t.Context(), "avocet-1", snap, now))
	}
	records := subject{block.CheckClass, "records"}
	if got := r.points("avocet-1", records, now.Add(-time.Hour)); len(got) != keptSnapshots || got[0].p50 != 11200*time.Microsecond {
		t.Errorf("%d points: %v", len(got), got)
	}
	p := d.page("/sites/avocet", 200)
	p.sound()
	if n := len(p.all("figure")); n != 2 {
		t.Errorf("%d charts, want the tunnel's and the check's", n)
	}
	d.hour("avocet-1") // up to now
	charts, err := d.server.charts(t.Context(), "avocet-1", now, nil)
	if err != nil || len(charts) != 2 || strings.Count(string(charts[1].SVG), ",") == 0 {
		t.Errorf("%v, %v", charts, err)
	}
	if got := r.points("avocet-1", records, (&series{last: now}).end(now.Add(-time.Hour))); len(got) != 0 {
		t.Errorf("snapshots drawn over blocks: %v", got)
	}
	snap := snapshot("avocet", "", checks.Up)
	snap.At = now.Add(-24 * time.Hour) // the gateway's clock was set back
	must(t, r.SaveSnapshot(t.Context(), "avocet-1", snap, now))
	if got := r.points("avocet-1", records, time.Time{}); len(got) != 1 {
		t.Errorf("after the clock was set back: %v", got)
	}
}

func TestWords(t *testing.T) {
	for at, want := range map[time.Duration]string{0: "14:12", 14 * time.Hour: "00:12", 15 * time.Hour: "Mon 23:12", 6 * 24 * time.Hour: "Wed 14:12", 7 * 24 * time.Hour: "17 Nov 2026", -25 * time.Hour: "25 Nov 2026"} {
		if got := since(now.Add(-at), now); got != want {
			t.Errorf("%v ago is %q, want %q", at, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "now", 4 * time.Second: "4 s", 17 * time.Minute: "17 min", 3 * time.Hour: "3 h", 50 * time.Hour: "2 days"} {
		if got := ago(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for ms, want := range map[float64]string{0.4: "0.40", 9.876: "9.88", 11.24: "11.2", 123.4: "123"} {
		if got := millis(ms / 1000); got != want {
			t.Errorf("%v ms is %q, want %q", ms, got, want)
		}
	}
}

// TestContrast computes the contrast of each text and its ground in both
// palettes, as WCAG 2.2 does (1.4.3: 4.5; 1.4.11: 3 for the focus ring).
func TestContrast(t *testing.T) {
	sheet, err := static.ReadFile("static/ginnel.css")
	must(t, err)
	light, dark, ok := strings.Cut(string(sheet), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("no dark palette")
	}
	for name, palette := range map[string]string{"light": light, "dark": dark} {
		colour := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6})`).FindAllStringSubmatch(palette, -1) {
			colour[m[1]] = m[2]
		}
		check := func(fore, back string, least float64) {
			if got := contrast(t, colour[fore], colour[back]); got < least {
				t.Errorf("%s: %s on %s is %.2f, want %.1f", name, fore, back, got, least)
			}
		}
		for _, back := range []string{"ground", "sheet"} {
			for _, fore := range []string{"ink", "soft", "link", "down"} {
				check(fore, back, 4.5)
			}
			check("focus", back, 3)
			check("trace", back, 3)
		}
		check("brand", "ground", 4.5)
		check("ink", "unknown-bg", 4.5)
		for _, s := range []string{"up", "degraded", "down", "unknown", "maintenance"} {
			check(s, s+"-bg", 4.5)
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	la, lb := luminance(t, a), luminance(t, b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var r, g, b uint8
	if _, err := fmt.Sscanf(colour, "#%02x%02x%02x", &r, &g, &b); err != nil {
		t.Fatalf("colour %q: %v", colour, err)
	}
	linear := func(c uint8) float64 {
		v := float64(c) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}
