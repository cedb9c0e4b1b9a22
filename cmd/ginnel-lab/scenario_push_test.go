package main

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func TestTurnsOfRings(t *testing.T) {
	began := time.Date(2026, 11, 22, 19, 0, 0, 0, time.UTC)
	at := func(ring string, seconds int) centre.PushState {
		return centre.PushState{Ring: ring, Since: began.Add(time.Duration(seconds) * time.Second)}
	}
	rings := []string{"canary", "rest"}
	for _, tt := range []struct {
		name    string
		all     []centre.PushState
		inOrder bool
	}{
		{"one after the other", []centre.PushState{at("canary", 5), at("rest", 80), at("rest", 70)}, true},
		{"too early", []centre.PushState{at("canary", 5), at("rest", 64), at("rest", 70)}, false},
		{"an empty ring", []centre.PushState{at("rest", 70)}, false},
	} {
		turns, inOrder := turnsOf(tt.all, rings, began, time.Minute)
		if inOrder != tt.inOrder || tt.inOrder && turns["rest"] != began.Add(65*time.Second) {
			t.Errorf("%s: %v, %v", tt.name, turns, inOrder)
		}
	}
	n := map[int]int{}
	for i := range 390 {
		n[ringOf(i, 390)]++
	}
	if n[1] != 1 || n[2] != 19 || n[3] != 97 || n[4] != 273 {
		t.Errorf("gateways by ring: %v", n)
	}
}
