package main

import (
	"cmp"
	"math"
	"os"
	"slices"
	"strings"
)

// sparkMost is how many values a spark line of a running watch has.
const sparkMost = 20

// barsOf are the heights of a spark line, lowest first, in characters that the
// locale has (locale(7): the first of the three that is set counts).
func barsOf(getenv func(string) string) []rune {
	locale := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	if strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8") {
		return []rune("▁▂▃▄▅▆▇█")
	}
	return []rune("_.:-=+*#")
}

// spark draws values beside one another, from 0 to the largest; a value that is
// not a number is a gap.
func spark(values []float64) string {
	bars := barsOf(os.Getenv)
	top := 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			top = max(top, v)
		}
	}
	var line strings.Builder
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			line.WriteByte(' ')
		case top == 0:
			line.WriteRune(bars[0])
		default:
			line.WriteRune(bars[min(int(v/top*float64(len(bars))), len(bars)-1)])
		}
	}
	return line.String()
}

// middle is the median; not a number where there is none.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
