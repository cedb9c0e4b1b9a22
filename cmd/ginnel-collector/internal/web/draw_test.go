package web

import (
	"testing"
	"time"
)

// The scale's words stand left of the plot, also in a wide font.
func TestScaleIsNotCutOff(t *testing.T) {
	const widest = 7.2 // units that a character of 11 takes in DejaVu Sans
	for unit := time.Microsecond; unit <= 10*time.Second; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 4, 5, 8} {
			for _, d := range []time.Duration{n * unit, n * unit / 2} {
				if d < 500*time.Microsecond { // the top is a millisecond at least
					continue
				}
				if need := widest * float64(len(scale(d))); need > left-6 {
					t.Errorf("%q takes %.0f units, and there are %.0f", scale(d), need, left-6)
				}
			}
		}
	}
}
