package checks

import "time"

// Status is a running check as it is now.
type Status struct {
	Spec     Spec // with its defaults filled in
	State    State
	Since    time.Time
	Unstable bool   // the state is held, for the results change too often
	Last     Result // of the last run; its Verdict is empty before the first
	WaitsFor string // what blocks it; empty: nothing
	Err      error  // why it cannot be run here; nil: it is run
	Figures  Figures
	Counts   Counts
}
