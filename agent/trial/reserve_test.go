package trial

import (
	"testing"
	"time"
)

// It is decided early enough for the last look, where nothing answers, and for
// going back: also of the shortest trial.
func TestReserve(t *testing.T) {
	for limit, want := range map[time.Duration]time.Duration{
		10 * time.Second: 5 * time.Second,
		20 * time.Second: 7 * time.Second,
		90 * time.Second: 15 * time.Second,
		time.Hour:        10 * time.Minute,
	} {
		if got := (Record{Limit: limit}).reserve(); got != want {
			t.Errorf("of %v: %v, want %v", limit, got, want)
		}
	}
}
