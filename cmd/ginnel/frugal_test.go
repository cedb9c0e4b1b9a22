package main

import (
	"runtime/debug"
	"testing"
)

func TestFrugal(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	t.Setenv("GOGC", "100")
	beFrugal()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("%d, although the environment says 100", got)
	}
	t.Setenv("GOGC", "")
	beFrugal()
	if got := debug.SetGCPercent(100); got != collectAt {
		t.Errorf("%d, want %d", got, collectAt)
	}
}
