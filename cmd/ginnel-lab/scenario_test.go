package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// TestScenarios plays every scenario in its short form with programs built
// from this tree: the end-to-end test of the whole.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("plays for minutes")
	}
	l := buildLab(t)
	for _, program := range []string{"ginnel", "ginnel-dataplane", "ginnel-collector", "ginnelctl"} {
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
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, l.exe, "scenario", "--short", sc.name)
			cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+l.out)
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			if err := cmd.Run(); err != nil {
				l.showLogs(t, "scenario-"+sc.name)
				t.Fatal(err)
			}
			if rows := l.rows(t, sc.name); len(rows) == 0 {
				t.Error("scenarios.json has no row of it")
			}
		})
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
