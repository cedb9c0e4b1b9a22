package main

import "testing"

func TestRank(t *testing.T) {
	// Ranks of the sign test's interval at 95 %, as in any table of it.
	for n, want := range map[int]int{3: 0, 5: 0, 6: 1, 8: 1, 9: 2, 12: 3, 15: 4, 20: 6, 25: 8} {
		if got := rank(n); got != want {
			t.Errorf("rank(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestBeside(t *testing.T) {
	met := func(s spread) bool { return s.High >= 0.97 }
	r := beside("x", "s", "peer", ">= 0.97", []float64{1, 2, 3}, []float64{2, 2, 2}, met)
	if *r.Ratio != 1 || r.Value != 2 || *r.Beside != 2 || !r.Met {
		t.Errorf("row = %+v", r)
	}
	if r := beside("x", "s", "peer", ">= 0.97", []float64{1, 1}, []float64{2, 2}, met); r.Met {
		t.Errorf("half of the peer met the aim: %+v", r)
	}
}
