package vm_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/packaging/vm"
)

// site is the machine with what the steps share.
type site struct {
	t      testing.TB
	m      *vm.Machine
	before string // traces before anything of ours
	prefix string // of the rows' names; empty: "packages: "
	rows   []row
}

// boot starts a machine with two builds of our packages beside it.
func boot(t testing.TB) *site {
	lab := t.TempDir()
	return &site{t: t, m: start(t, lab, addPackages)}
}

// addPackages builds the packages into the folder lab, and puts in what stands
// around the site.
func addPackages(ctx context.Context, lab string) error {
	if err := os.CopyFS(filepath.Join(lab, "site"), os.DirFS("testdata/site")); err != nil {
		return err
	}
	for _, version := range []string{first, second} {
		build := exec.CommandContext(ctx, "packaging/build.sh", filepath.Join(lab, version), "amd64")
		build.Dir = "../.."
		build.Env = append(os.Environ(), "KINDS=deb", "VERSION="+version)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the packages: %w\n%s", err, out)
		}
	}
	return nil
}

// start starts a machine whose /lab add has filled; words are added to its
// kernel's command line.
func start(t testing.TB, lab string, add func(ctx context.Context, lab string) error, words ...string) *vm.Machine {
	if os.Getuid() != 0 {
		t.Fatal("builds a machine's disk: run it as root")
	}
	began := time.Now()
	image, err := vm.Prepare(t.Context(), t.Logf)
	if err == nil {
		err = add(t.Context(), lab)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := vm.Boot(t.Context(), image, lab, words...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	fmt.Printf("  %-66s %s\n", t.Name()+": the machine is up", time.Since(began).Round(time.Second))
	return m
}

// step runs one step and prints its row; what it gives is the row's value.
func (s *site) step(name string, do func(ctx context.Context) (string, error)) {
	s.t.Helper()
	began := time.Now()
	value, err := do(s.t.Context())
	took := time.Since(began).Round(100 * time.Millisecond)
	s.rows = append(s.rows, rowOf(cmp.Or(s.prefix, "packages: "), name, value, err))
	if err == nil {
		fmt.Printf("  %-66s %-12s %s\n", name, value, took)
		return
	}
	fmt.Printf("  %-66s FAILED\n", name)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), time.Minute)
	defer cancel()
	log, _ := s.m.Run(ctx, 30*time.Second, "ginnel status; systemctl --failed; wg; ip rule; ip route show table all | head -40; nft list ruleset; journalctl -b --no-pager -o short-monotonic -u 'ginnel*' | tail -60")
	s.t.Fatalf("%s: %v\n\nthe machine then:\n%s", name, err, log)
}

func (s *site) run(ctx context.Context, script string) (string, error) {
	return s.m.Run(ctx, 10*time.Minute, script)
}

// quiet runs a script whose output matters only when it fails.
func (s *site) quiet(ctx context.Context, script string) error {
	_, err := s.run(ctx, script)
	return err
}
