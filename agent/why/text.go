package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// edge is the last column that the text uses.
const edge = 78

// Text is the report for people, times in loc.
func (r *Report) Text(loc *time.Location) string {
	var b strings.Builder
	headline := r.Headline
	if r.State != checks.Up && !r.Since.IsZero() && r.At.After(r.Since) {
		headline = strings.Replace(headline, ": ", fmt.Sprintf(" (%s): ", span(r.At.Sub(r.Since))), 1)
	}
	split(&b, headline, string(r.Code))
	if r.WaitsFor != "" && r.Network != "" {
		fmt.Fprintf(&b, "It waits for %s.\n", waits(r.WaitsFor))
	}
	b.WriteString("\n")
	wide := 0
	for _, s := range r.Steps {
		wide = max(wide, len(s.Name))
	}
	for _, s := range r.Steps {
		mark := map[Outcome]string{Good: "ok", Failed: "FAIL", NotTried: "-"}[s.Result]
		text := s.Text
		if r.Network == "" && s.Code != "" && s.Code != r.Code {
			text += "  " + string(s.Code)
		}
		entry(&b, "  ", fmt.Sprintf("%-4s  %-*s", mark, wide, s.Name), wide+6, text)
	}
	b.WriteString("\n")
	for _, e := range []struct{ head, text string }{
		{"Not the line", r.NotTheLine}, {"Cannot tell", r.CannotTell}, {"What it means", r.Means},
		{"Who", r.Who}, {"Say", quoted(r.Say)}, {"Evidence", r.Evidence.text(r.At.In(loc))},
	} {
		if e.text != "" {
			entry(&b, "", e.head, 14, e.text)
		}
	}
	for _, h := range r.Hints {
		entry(&b, "", "Type", 14, h)
	}
	if r.Request != nil && (r.Code == HubSilent || r.Code == HubNever) {
		fmt.Fprintf(&b, "If the hub is well:  ginnel why %s --request    (text for the firewall team)\n", r.Network)
	}
	return b.String()
}

// text is what to type, and of what it tells; empty: there is none.
func (e *Evidence) text(now time.Time) string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf("ginnel evidence %s (%s, %s)", e.ID, e.Name, clockOf(e.At, now))
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return `"` + s + `"`
}

// split prints left and right at both ends of a line; what of left does not fit
// goes below.
func split(b *strings.Builder, left, right string) {
	room := edge
	if right != "" {
		room -= len(right) + 2
	}
	lines := fold(left, room, edge-4)
	if right != "" {
		lines[0] += strings.Repeat(" ", max(1, edge-len([]rune(lines[0]))-len(right))) + right
	}
	b.WriteString(strings.Join(lines, "\n    ") + "\n")
}

// entry prints a head, and its text beside it, in lines that are not too long.
func entry(b *strings.Builder, indent, head string, column int, text string) {
	margin := len(indent) + column + 2
	lines := fold(text, edge-margin, edge-margin)
	fmt.Fprintf(b, "%s%-*s  %s\n", indent, column, head, strings.Join(lines, "\n"+strings.Repeat(" ", margin)))
}

// fold breaks text between words; the first line has room for so many columns,
// the others for rest.
func fold(text string, room, rest int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len([]rune(*last))+1+len([]rune(word)) > room:
			lines = append(lines, word)
			room = rest
		default:
			*last += " " + word
		}
	}
	return lines
}
