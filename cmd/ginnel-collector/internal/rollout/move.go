package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Move does what an operator asks of r. The error says why it cannot be done.
func Move(r Rollout, m centre.Move, now time.Time) (Rollout, error) {
	r.Pushes = slices.Clone(r.Pushes)
	switch m {
	case centre.MovePause:
		if r.State != centre.RolloutRunning {
			return r, fmt.Errorf("it is not running, it is %s", r.State)
		}
		r.State, r.Reason = centre.RolloutPaused, "an operator paused it"
	case centre.MoveResume:
		if r.State != centre.RolloutPaused {
			return r, fmt.Errorf("it is not paused, it is %s", r.State)
		}
		r.State, r.Reason = centre.RolloutRunning, ""
		for i, p := range r.Pushes {
			r.Pushes[i].Excused = p.Excused || p.trouble() != ""
			if p.Stage == Offered {
				r.Pushes[i].Since = now // it could not be taken in a pause
			}
		}
	case centre.MoveAbort:
		if r.State != centre.RolloutRunning && r.State != centre.RolloutPaused && r.State != centre.RolloutBack {
			return r, fmt.Errorf("it has ended, it is %s", r.State)
		}
		r.State, r.Reason = centre.RolloutAborted, ""
	case centre.MoveBack:
		if r.State == centre.RolloutBack || r.State == centre.RolloutUndone {
			return r, fmt.Errorf("it is %s already", r.State)
		}
		r.State, r.Reason = centre.RolloutBack, ""
	default:
		return r, fmt.Errorf("%q is nothing that is done to a rollout", m)
	}
	return r, nil
}
