package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBenches runs the shortest benches to their end, and beside them those that
// mostly wait. What they measure beside other tests says nothing, so no aim is held
// to here.
func TestBenches(t *testing.T) {
	if testing.Short() {
		t.Skip("plays for a minute")
	}
	l := buildLab(t)
	for to, from := range map[string]string{"ginnel": "../ginnel", "ginnel-dataplane": "../ginnel-dataplane",
		"ginnel-collector": "../ginnel-collector", "ginnelctl": "../ginnelctl",
		"wireguard-go": "golang.zx2c4.com/wireguard"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(l.out, to), from).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", from, err, out)
		}
	}
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"networks", "forward", "memory", "cold", "change", "idle"} {
			t.Run(name, func(t *testing.T) { playBench(t, l, name) })
		}
	})
	for _, name := range []string{"few", "surgery"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			playBench(t, l, name)
		})
	}
}

func playBench(t *testing.T, l lab, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, l.exe, "bench", "--short", name)
	cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	text, _ := os.ReadFile(filepath.Join(dir, "bench.json"))
	if !strings.Contains(string(text), `"name": "`+name+`: `) || strings.Contains(string(out), "ran to its end") {
		t.Errorf("it did not come to its end: %v", err)
	}
}

func TestRank(t *testing.T) {
	// Ranks of the sign test's interval at 95 %, as in any table of it.
	for n, want := range map[int]int{3: 0, 5: 0, 6: 1, 8: 1, 9: 2, 12: 3, 15: 4, 20: 6, 25: 8} {
		if got := rank(n); got != want {
			t.Errorf("rank(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestBeside(t *testing.T) {
	r := beside("x", "s", "peer", atLeast(0.97), []float64{1, 2, 3}, []float64{2, 2, 2})
	if *r.Ratio != 1 || r.Value != 2 || *r.Beside != 2 || !r.Met {
		t.Errorf("row = %+v", r)
	}
	if r := beside("x", "s", "peer", atLeast(0.97), []float64{1, 1}, []float64{2, 2}); r.Met {
		t.Errorf("half of the peer met the aim: %+v", r)
	}
	// An interval that reaches the aim is no met aim.
	if r := beside("x", "s", "peer", atMost(0.5), []float64{0.4, 0.6, 0.6}, []float64{1, 1, 1}); r.Met {
		t.Errorf("a median of 0.6 met <= 0.5: %+v", r)
	}
}
