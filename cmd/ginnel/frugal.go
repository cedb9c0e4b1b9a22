package main

import (
	"os"
	"runtime/debug"
)

// collectAt is by how many percent the heap grows before it is collected, where Go
// would wait for 100. An agent is on a small gateway for months, beside what the
// gateway is there for, and keeps the memory that it once had use for. With 1,000
// checks a second it has 8 MB less by that, of 47, and takes 4 % more CPU time,
// which is 2 ms in a second.
const collectAt = 50

// beFrugal is for the agent alone. GOGC in the environment wins.
func beFrugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}
