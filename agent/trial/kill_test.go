package trial_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/trial"
)

var kills = flag.Int("kills", 20, "how often to kill the agent in a trial; the full form is 200")

// TestMain is also the agent that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TRIAL_TEST_VICTIM"); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

// prompt is a gateway where all is measured and answered at once, so that a trial
// is over within milliseconds. A third of its configs cannot be applied.
type prompt struct{ *trial.Trial }

func (p prompt) Run(_ context.Context, text []byte) error {
	fmt.Println("runs", generationOf(text))
	if g := generationOf(text); g%3 == 2 {
		return fmt.Errorf("generation %d covers 192.168.10.0/24", g)
	}
	return nil
}
func (prompt) Keep([]byte) error                                { return nil }
func (prompt) Tunnels(context.Context, time.Time) []trial.Part  { return nil }
func (prompt) Required(context.Context, time.Time) []trial.Part { return nil }

// generationOf reads a config of configOf; 0: it is not whole.
func generationOf(text []byte) (generation int) {
	_, _ = fmt.Sscanf(string(text), "generation = %d\n", &generation)
	if string(text) != configOf(generation) {
		return 0
	}
	return generation
}

func journalIn(dir string) trial.Journal {
	return trial.Journal{Dir: filepath.Join(dir, "trial"), LastGood: filepath.Join(dir, "last-good.toml")}
}

// victim goes on with the trial that its predecessor was in, then tries one
// config after the other, and says what became of each.
func victim(dir string) {
	p := prompt{&trial.Trial{Journal: journalIn(dir), Boot: "monday", Log: slog.New(slog.DiscardHandler)}}
	p.Trial.Host, p.Trial.Tunnels, p.Trial.Checks = p, p, p
	ctx := context.Background()
	if p.Resume(ctx) == nil {
		fmt.Println(p.Record().Phase, p.Record().Generation)
	}
	for generation := p.Record().Generation + 1; ; generation++ {
		b := bundle.Bundle{Text: []byte(configOf(int(generation))), Signature: []byte("-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n")}
		fmt.Println("begins", generation)
		err := p.Trial.Run(ctx, trial.Change{Generation: generation, Hash: b.Hash(), Bundle: b.Bytes(), Limit: time.Minute})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(p.Record().Phase, generation)
		if generation%7 == 0 && p.Record().Phase == trial.Kept {
			if ok, err := p.Override(ctx); !ok || err != nil {
				fmt.Println("error", ok, err)
				os.Exit(1)
			}
			fmt.Println("overridden", generation)
		}
	}
}

// TestKill kills the agent at any moment of a trial. What runs at the next start
// is one of the two configs, whole: the one that was last said to be kept, or the
// one that was being tried.
func TestKill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(journalIn(dir).LastGood, []byte(configOf(1)), 0o640); err != nil {
		t.Fatal(err)
	}
	var m said
	m.kept = 1
	for n := range *kills {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), "TRIAL_TEST_VICTIM="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		timer := time.AfterFunc(time.Duration(rand.N(30_000))*time.Microsecond+5*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			what, number, _ := strings.Cut(lines.Text(), " ")
			var g int
			_, _ = fmt.Sscan(number, &g)
			if what == "error" {
				t.Fatal(lines.Text())
			}
			m.hears(what, g)
		}
		timer.Stop()
		_ = cmd.Wait()
		text, r, err := journalIn(dir).Boots("monday")
		if got := generationOf(text); err != nil || !m.agrees(r, got) {
			t.Fatalf("kill %d: generation %d runs (%s of %d), %v; it said %+v", n, got, r.Phase, r.Generation, err, m)
		}
	}
	t.Logf("%d of %d: one of the two configs, whole; up to generation %d", *kills, *kills, m.tried)
}

// said is what an agent has said of its configs, by generation.
type said struct {
	kept, before int // the last good one, and the one before it
	tried        int // the newest one
	over         bool
}

func (m *said) hears(what string, generation int) {
	switch what {
	case "begins":
		m.tried, m.over = generation, false
	case "kept":
		if m.kept != generation {
			m.kept, m.before = generation, m.kept
		}
		m.over = true
	case "overridden":
		if m.kept == generation {
			m.kept = m.before
		}
		m.over = true
	case "failed":
		m.over = true
	}
}

// agrees reports whether what is on disk is what was said, or the next thing that
// would have been.
func (m *said) agrees(r trial.Record, runs int) bool {
	if r.Phase == "" {
		return m.tried <= 1+m.kept && runs == m.kept
	}
	if m.over && r.Generation < uint64(m.tried) {
		return false // it was forgotten
	}
	m.tried = int(r.Generation)
	switch r.Phase {
	case trial.Trying:
		return runs == m.tried || runs == m.kept
	case trial.Kept, trial.Overridden:
		m.hears(string(r.Phase), m.tried)
	}
	return runs == m.kept
}
