package why

import (
	"fmt"
	"strings"
	"time"
)

// say is what to read out on the phone: letters one by one, numbers in words.
func (f Facts) say(r *Report) string {
	words := []string{spell(f.Gateway)}
	if r.Code != "" {
		words = append(words, spellCode(r.Code))
	} else {
		words = append(words, "no code")
	}
	words = append(words, "build "+f.Version, clockWords(f.At))
	return strings.Join(words, ", ")
}

// spell reads a gateway's name, "avocet-1": its number in words.
func spell(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' })
	for i, p := range parts {
		parts[i] = digits(p)
	}
	return strings.Join(parts, " ")
}

// spellCode reads GN-HUB-02 as "G N HUB zero two".
func spellCode(c Code) string {
	parts := strings.Split(string(c), "-")
	if len(parts) != 3 {
		return string(c)
	}
	return "G N " + parts[1] + " " + digits(parts[2])
}

var figures = []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
	"twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"}

// digits reads a word digit by digit if it is a number; others stay.
func digits(s string) string {
	var words []string
	for _, r := range s {
		if r < '0' || r > '9' {
			return s
		}
		words = append(words, figures[r-'0'])
	}
	return strings.Join(words, " ")
}

func number(n int) string {
	if n <= 20 {
		return figures[n]
	}
	return "twenty " + figures[n-20]
}

// clockWords reads a time as people say it: "twelve past two".
func clockWords(t time.Time) string {
	hour := func(h int) string { return figures[(h+11)%12+1] }
	switch m := t.Minute(); {
	case m == 0:
		return hour(t.Hour()) + " o'clock"
	case m == 15:
		return "quarter past " + hour(t.Hour())
	case m == 30:
		return "half past " + hour(t.Hour())
	case m == 45:
		return "quarter to " + hour(t.Hour()+1)
	case m < 30:
		return fmt.Sprintf("%s past %s", number(m), hour(t.Hour()))
	default:
		return fmt.Sprintf("%s to %s", number(60-m), hour(t.Hour()+1))
	}
}

// clockOf is when something was, in the zone of now: of today only the time.
func clockOf(at, now time.Time) string {
	at = at.In(now.Location())
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("2 Jan 15:04")
}
