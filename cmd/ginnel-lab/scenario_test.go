package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// waiters are scenarios that wait most of the time: for a trial's end, a
// certificate, a silence. They are played side by side, after all others.
var waiters = []string{"strand", "away", "others", "story", "revoke", "expired", "copies", "token", "collector",
	"push", "disk", "evidence", "refusals", "badhost"}

// TestScenarios plays every scenario in its short form with programs built
// from this tree: the end-to-end test of the whole.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("plays for minutes")
	}
	l := buildLab(t)
	for _, program := range []string{"ginnel", "ginnel-dataplane", "ginnel-collector", "ginnelctl", "ginnel-check-clinical"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(l.out, program), "../"+program).CombinedOutput()
		if err != nil {
			t.Fatalf("go build %s: %v\n%s", program, err, out)
		}
	}
	for to, build := range map[string][]string{
		"ginnel-check-banner":      {"../../checks/plugin/example"},
		"upgrade/ginnel":           {"-ldflags", "-X main.version=second", "../ginnel"},
		"upgrade/ginnel-dataplane": {"-ldflags", "-X main.version=second", "../ginnel-dataplane"},
	} {
		args := append([]string{"build", "-o", filepath.Join(l.out, to)}, build...)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", to, err, out)
		}
	}
	clock := exec.Command(".ci/wrong-clock", filepath.Join(l.out, "clock"))
	clock.Dir = "../.."
	if out, err := clock.CombinedOutput(); err != nil {
		t.Fatalf("build an agent with a wrong clock: %v\n%s", err, out)
	}
	t.Run("readme", func(t *testing.T) {
		t.Parallel() // it waits for a trial to fail
		l.readmeStory(t)
	})
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			if slices.Contains(waiters, sc.name) {
				t.Parallel()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, l.exe, "scenario", "--short", sc.name)
			cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+l.out)
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			err := cmd.Run()
			rows := l.rows(t, sc.name)
			missed, slow := unmet(rows)
			for _, r := range slow {
				t.Logf("slow here, which fails no test: %s: %.4g %s, aim %s", r.Name, r.Value, r.Unit, r.Aim)
			}
			if len(rows) == 0 || len(missed) > 0 || err != nil && len(slow) == 0 {
				l.showLogs(t, "scenario-"+sc.name)
				t.Fatalf("%d rows, %d not met: %v", len(rows), len(missed), err)
			}
		})
	}
}

// unmet parts the rows that missed their aim: a time that is too long says as much
// of the machine that the test runs on as of us, and fails no test. A time that is
// not, in a row that is not met, is of something that never happened.
func unmet(rows []result) (missed, slow []result) {
	for _, r := range rows {
		switch {
		case r.Met:
		case (r.Unit == "s" || r.Unit == "ms") && tooLong(r):
			slow = append(slow, r)
		default:
			missed = append(missed, r)
		}
	}
	return missed, slow
}

// tooLong is true of a value, or of its ratio where the aim is one, beyond the last
// number of the aim.
func tooLong(r result) bool {
	words := strings.Fields(r.Aim)
	most, err := strconv.ParseFloat(words[len(words)-1], 64)
	value := r.Value
	if r.Ratio != nil {
		value = *r.Ratio
	}
	return err == nil && value > most
}

func TestTimesFailNoTest(t *testing.T) {
	missed, slow := unmet([]result{
		{Name: "a", Unit: "s", Aim: "<= 2", Value: 3}, {Name: "b", Unit: "packets", Aim: "0", Value: 1}, {Name: "c", Unit: "true", Aim: "1"},
		{Name: "d", Unit: "ms", Aim: "< 1", Value: 0.5, Met: true}, {Name: "e", Unit: "s", Aim: "<= 1.1", Value: 0.2, Ratio: new(1.3)}, {Name: "never named", Unit: "s", Aim: "<= 60", Value: 0},
	})
	if len(missed) != 3 || len(slow) != 2 || slow[0].Name != "a" {
		t.Errorf("missed %v, slow %v", missed, slow)
	}
}

// rows are a scenario's in scenarios.json.
func (l lab) rows(t *testing.T, name string) []result {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.out, "scenarios.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []result
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(r result) bool { return !strings.HasPrefix(r.Name, name+": ") })
}

// showLogs prints the tail of each program's log.
func (l lab) showLogs(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(l.out, folder, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, _ := os.ReadFile(f)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Logf("%s\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
}

func TestRowsReplaceOlderOnesOfTheirScenarioAndForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scenarios.json")
	for _, s := range []*stage{
		{name: "hub", short: true}, {name: "hub"}, {name: "lab", short: true}, {name: "hub", short: true, kernel: true},
		{name: "hub", short: true},
	} {
		s.zero("one", 0, "packets", "")
		s.zero("two", 1, "packets", "")
		if err := s.keep(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []result
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got []string
	for _, r := range all {
		got = append(got, r.Name+" "+r.Form)
	}
	want := []string{
		"hub: one full", "hub: two full", "lab: one short", "lab: two short",
		"hub: one short, kernel", "hub: two short, kernel", "hub: one short", "hub: two short",
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

func TestKernelBackEndOnlyWhereTheKernelHasIt(t *testing.T) {
	if testing.Short() {
		t.Skip("plays where the kernel has WireGuard")
	}
	support, err := wireguard.Probe()
	if err != nil {
		t.Fatal(err)
	}
	l := buildLab(t)
	_, stderr, code := l.run(t, "", "scenario", "--short", "--backend", "kernel", "lab")
	if support.Kernel == nil {
		if code != 0 {
			t.Errorf("the kernel has WireGuard, but: %d %s", code, stderr)
		}
		return
	}
	const want = "ginnel-lab: error: --backend kernel cannot be played here: the kernel has no WireGuard module\n"
	if code != 1 || stderr != want {
		t.Errorf("got %d %q, want 1 %q", code, stderr, want)
	}
}
