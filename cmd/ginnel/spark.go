package main

import (
	"math"
	"slices"
	"strings"
)

// sparkMost is how many values a spark line of a running watch has.
const sparkMost = 20

// bars are the heights of a spark line, lowest first.
var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws values beside one another, from 0 to the largest; a value that is
// not a number is a gap.
func spark(values []float64) string {
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
