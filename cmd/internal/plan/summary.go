package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// How much of each sort a summary tells, so that it stays on one screen.
const (
	mostRows  = 14
	mostLooks = 3 // of a kind
	changeMax = 50
)

// Summary is the plan on one screen: the same change at many gateways is one
// line. With all it tells every row and look.
func (p *Plan) Summary(all bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, compared with what %s run now\n\n", p.Fleet, where(p.Gateways, p.Sites))
	b.WriteString(p.counts())
	p.table(&b, all)
	p.looks(&b, all)
	b.WriteString("\n" + cli.Wrap(p.cutsText(all), cli.Width, "    "))
	return cli.Printable(b.String())
}

// where is "396 gateways at 390 sites".
func where(gateways, sites int) string {
	return plural(gateways, "gateway") + " at " + plural(sites, "site")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (p *Plan) counts() string {
	parts := []string{fmt.Sprintf("%d change", len(p.Changes)), fmt.Sprintf("%d stay", p.Stay)}
	for _, c := range []struct {
		n    int
		what string
	}{{p.Refused, "refused"}, {p.Wait, "wait"}, {p.Others, "not yours"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return "  " + strings.Join(parts, "    ") + "\n"
}

// row is one change and where it is made.
type row struct {
	line     string
	gateways []*Change
}

// rows groups changes, those at most gateways first.
func (p *Plan) rows() []row {
	at := map[string]int{}
	var rows []row
	add := func(line string, c *Change) {
		i, there := at[line]
		if !there {
			i = len(rows)
			at[line] = i
			rows = append(rows, row{line: line})
		}
		rows[i].gateways = append(rows[i].gateways, c)
	}
	for i := range p.Changes {
		for _, l := range p.Changes[i].Lines {
			add(l, &p.Changes[i])
		}
	}
	for gateway, networks := range p.Wanted {
		for _, n := range networks {
			add("+ a key for "+n+", to be made there", &Change{Gateway: gateway, Ring: -1})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(len(b.gateways), len(a.gateways)), cmp.Compare(a.line[:1], b.line[:1]), cmp.Compare(a.line, b.line))
	})
	return rows
}

// rings says in which rings the gateways of a row are: "canary 1, 5% 9"; of one
// gateway its name.
func (p *Plan) rings(r row) string {
	if len(r.gateways) == 1 {
		return r.gateways[0].Gateway
	}
	count := make([]int, len(p.Rollout.Rings))
	for _, g := range r.gateways {
		if g.Ring >= 0 && g.Ring < len(count) {
			count[g.Ring]++
		}
	}
	var parts []string
	for i, n := range count {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", p.Rollout.Rings[i], n))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *Plan) table(b *strings.Builder, all bool) {
	rows := p.rows()
	if len(rows) == 0 {
		return
	}
	left := 0
	if !all && len(rows) > mostRows {
		left = len(rows) - mostRows + 1
		rows = rows[:mostRows-1]
	}
	column := p.column(rows)
	margin := strings.Repeat(" ", 2+column+8+2)
	fmt.Fprintf(b, "\n  %-*s%8s  %s\n", column, "CHANGE", "GATEWAYS", "RING")
	for _, r := range rows {
		line, rest, _ := strings.Cut(cli.Wrap(r.line, column-4, "      "), "\n")
		fmt.Fprintf(b, "  %-*s%8d  %s\n", column, clip(line, column-2), len(r.gateways),
			cli.Wrap(p.rings(r), cli.Width-len(margin), margin))
		if rest != "" {
			b.WriteString(rest + "\n")
		}
	}
	if left > 0 {
		fmt.Fprintf(b, "  and %s more: --all\n", plural(left, "change"))
	}
}

// column is how wide the changes stand: less where the rings need the room.
func (p *Plan) column(rows []row) int {
	line, ring := len("CHANGE"), 0
	for _, r := range rows {
		line = max(line, utf8.RuneCountInString(r.line)+2)
		ring = max(ring, utf8.RuneCountInString(p.rings(r)))
	}
	return min(changeMax, max(line, cli.Width-12-ring))
}

// clip shortens a line that is too long for its column.
func clip(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-3]) + "..."
	}
	return s
}

func (p *Plan) looks(b *strings.Builder, all bool) {
	if len(p.Looks) == 0 {
		return
	}
	b.WriteString("\nLook at these\n")
	for _, kind := range kinds {
		var of []Look
		for _, l := range p.Looks {
			if l.Kind == kind {
				of = append(of, l)
			}
		}
		rest := 0
		if most := mostOf(kind); !all && len(of) > most {
			rest = len(of) - most + 1
			of = of[:most-1]
		}
		for _, l := range of {
			b.WriteString(l.String())
		}
		if rest > 0 {
			fmt.Fprintf(b, "  %-9s  and %d more: --all\n", kind, rest)
		}
	}
}

// mostOf is how many of a kind a screen has room for. What has to be compared
// or approved by a person has more.
func mostOf(kind string) int {
	switch kind {
	case NewKey, ChangedKey, BadProof, Refused:
		return 2 * mostLooks
	}
	return mostLooks
}

// String is the look as a summary has it.
func (l Look) String() string {
	const column = 13
	indent := strings.Repeat(" ", column)
	head := fmt.Sprintf("  %-9s  ", l.Kind)
	text := l.Text
	if l.Head != "" {
		head += l.Head + "   "
	}
	room := cli.Width - utf8.RuneCountInString(head)
	first, rest := firstLine(text, room)
	out := strings.TrimRight(head+first, " ") + "\n"
	if rest != "" {
		out += indent + cli.Wrap(rest, cli.Width-column, indent) + "\n"
	}
	if l.Hint != "" {
		out += indent + cli.Wrap("hint: "+l.Hint, cli.Width-column, indent+"    ") + "\n"
	}
	return out
}

// firstLine parts text where a line of room columns ends.
func firstLine(text string, room int) (first, rest string) {
	words := strings.Fields(text)
	for i, w := range words {
		next := w
		if i > 0 {
			next = first + " " + w
		}
		if utf8.RuneCountInString(next) > room {
			return first, strings.Join(words[i:], " ")
		}
		first = next
	}
	return first, ""
}

func (p *Plan) cutsText(all bool) string {
	var at []string
	total := 0
	for _, c := range p.Changes {
		if len(c.Cuts) > 0 {
			total += len(c.Cuts)
			at = append(at, c.Gateway+" "+strings.Join(c.Cuts, ", "))
		}
	}
	if total == 0 {
		return "No tunnel goes down."
	}
	gateways := len(at)
	if !all && len(at) > mostLooks {
		at = append(at[:mostLooks], fmt.Sprintf("%d more", gateways-mostLooks))
	}
	verb := "go"
	if total == 1 {
		verb = "goes"
	}
	return fmt.Sprintf("%s %s down at %s: %s.", plural(total, "tunnel"), verb, plural(gateways, "gateway"), strings.Join(at, "; "))
}
