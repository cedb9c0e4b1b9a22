package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/packaging/vm"
)

// formWord names the environment's word for the form in which the lab is played:
// "full"; else the short one.
const formWord = "GINNEL_FORM"

// TestKernel plays scenarios of the lab on the kernel's WireGuard, in a machine of
// their own.
func TestKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine in software emulation: make scenarios runs it")
	}
	t.Parallel() // beside TestPackages: each machine has one processor
	m := start(t, t.TempDir(), addLab)
	p := &player{m: m, short: os.Getenv(formWord) != "full"}
	for _, name := range p.stories() {
		t.Run(name, func(t *testing.T) { p.play(t, name) })
	}
	keep(t, p.rows, func(old row) bool {
		return slices.ContainsFunc(p.rows, func(r row) bool { return r.Form == old.Form && story(r) == story(old) })
	})
}

// addLab builds the lab and the programs under test into the folder lab.
func addLab(ctx context.Context, lab string) error {
	for _, program := range []string{"ginnel", "ginnel-dataplane", "ginnel-collector", "ginnelctl", "ginnel-lab"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(lab, "bin", program), "./cmd/"+program)
		build.Dir = "../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	return nil
}

// story is the name of the scenario that a row is of.
func story(r row) string {
	name, _, _ := strings.Cut(r.Name, ": ")
	return name
}

// player plays scenarios in a machine and collects their rows.
type player struct {
	m     *vm.Machine
	short bool
	rows  []row
}

// stories are those that the kernel's back end is to pass. The short form counts no
// packets: an emulated processor beside another one loses some. The leak proof
// comes last: it takes a quarter of an hour, and a host whose processors are busy
// starves it.
func (p *player) stories() []string {
	if p.short {
		return []string{"crash"}
	}
	return []string{"crash", "heal", "bighub", "hub", "leave", "leak"}
}

// kernelForm is the word for it in a row: emulation makes everything slower.
const kernelForm = "short, kernel, emulated"

// play plays one scenario. Times are printed and kept as they were measured, but
// a miss is the emulation's: it fails nothing.
func (p *player) play(t *testing.T, name string) {
	// The full forms take hours here: what makes the full form is which are played.
	const limit, flag = 40 * time.Minute, "--short"
	began := time.Now()
	said, err := p.m.Run(t.Context(), limit, "rm -rf /root/lab; mkdir /root/lab; GINNEL_LAB_OUT=/root/lab /lab/bin/ginnel-lab scenario "+flag+" --backend kernel "+name)
	t.Logf("%s, %s, %s:\n%s", name, kernelForm, time.Since(began).Round(time.Second), said)
	if failed := (*vm.Failed)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	text, err := p.m.Run(t.Context(), time.Minute, "cat /root/lab/scenarios.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal([]byte(text), &rows); err != nil || len(rows) == 0 {
		t.Fatalf("the rows of %s: %v\n%s", name, err, text)
	}
	for i := range rows {
		r := &rows[i]
		r.Form = kernelForm
		if !r.Met && !slices.Contains([]string{"s", "ms", "%"}, r.Unit) {
			t.Errorf("%s: %g %s, aim %s\n%s", r.Name, r.Value, r.Unit, r.Aim, r.Detail)
		}
	}
	p.rows = append(p.rows, rows...)
	if t.Failed() {
		logs, _ := p.m.Run(t.Context(), time.Minute, "dmesg | tail -5; cd /root/lab/scenario-"+name+" && tail -n 15 *.log | cut -c1-300")
		t.Log(strings.TrimSpace(logs))
	}
}
