package control

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Who waits for the end of a ring's watch calls in a hurry shortly before it, and
// not for the ten minutes that it takes, nor while the rollout is paused.
func TestHurryBeforeARingBegins(t *testing.T) {
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	soon := now.Add(20 * time.Second)
	for _, tt := range []struct {
		name  string
		state centre.RolloutState
		waits string
		again time.Time
		want  bool
	}{
		{"its turn", centre.RolloutRunning, "", time.Time{}, true},
		{"the watch ends soon", centre.RolloutRunning, "ring canary is watched", now.Add(15 * time.Second), true},
		{"the watch ends late", centre.RolloutRunning, "ring canary is watched", now.Add(10 * time.Minute), false},
		{"nobody knows when", centre.RolloutRunning, "too few gateways are heard", time.Time{}, false},
		{"paused", centre.RolloutPaused, "", time.Time{}, false},
	} {
		l := &live{r: rollout.Rollout{State: tt.state}, waits: tt.waits, again: tt.again}
		l.State = tt.state
		if got := l.hurries(rollout.Push{Progress: rollout.Progress{Stage: rollout.Waiting}}, soon); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
