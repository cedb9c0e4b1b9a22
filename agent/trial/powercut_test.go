package trial_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/agent/internal/tornfs"
	"github.com/ginnel/ginnel/agent/trial"
)

var cuts = flag.Int("cuts", 20, "how often to cut the power in a trial; the full form is 100")

// stories are what a trial may be in the middle of when the power goes. Each gives
// the config that has to run afterwards, if it came to its end; empty: either.
var stories = []struct {
	name string
	tell func(w *world) string
}{
	{"kept", func(w *world) string {
		if w.try(newText) == nil && w.trial.Record().Phase == trial.Kept {
			return newText
		}
		return ""
	}},
	{"gone back from", func(w *world) string {
		w.dead = func(name, running string) bool { return running == newText && name == "kestrel/hub-north" }
		if w.try(newText) == nil && w.trial.Record().Phase == trial.Failed {
			return oldText
		}
		return ""
	}},
	{"held, then kept", func(w *world) string {
		begin := time.Now()
		w.away = func(string) bool { return time.Since(begin) < 5*time.Minute }
		if w.try(newText) == nil && w.trial.Record().Phase == trial.Kept {
			return newText
		}
		return ""
	}},
	{"kept, then overridden", func(w *world) string {
		if w.try(newText) != nil || w.trial.Record().Phase != trial.Kept {
			return ""
		}
		if ok, err := w.trial.Override(w.t.Context()); ok && err == nil {
			return oldText
		}
		return ""
	}},
}

// TestPowerCut cuts the power at any write of a trial, on a disk that loses and
// tears what was not synced. One of the two configs is to run at the next boot,
// whole, and the trial comes to an end.
func TestPowerCut(t *testing.T) {
	if os.Getenv("TRIAL_TEST_CUTS") == "" {
		mounted(t, fmt.Sprintf("-cuts=%d", *cuts))
		return
	}
	moments := make([]int, len(stories)) // to cut at
	for i, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			disk, image, done := play(t, s.tell, 1<<30)
			moments[i] = disk.Writes()
			if done == "" || moments[i] < 10 {
				t.Errorf("it ended with %q, after %d writes", done, moments[i])
			}
			synctest.Test(t, func(t *testing.T) { goesOn(t, image, done) })
		})
	}
	whole := 0
	for n := range *cuts {
		s, at := stories[n%len(stories)], 1+rand.N(moments[n%len(stories)])
		_, image, done := play(t, s.tell, at)
		ok := true
		synctest.Test(t, func(t *testing.T) {
			goesOn(t, image, done)
			ok = !t.Failed()
		})
		if !ok {
			t.Logf("that was %q, cut at %d of %d", s.name, at, moments[n%len(stories)])
			continue
		}
		whole++
	}
	t.Logf("%d of %d: one of the two configs, whole", whole, *cuts)
}

// play tells a story on a disk of which the power is cut after so many writes, and
// gives what the disk has then.
func play(t *testing.T, tell func(w *world) string, cut int) (disk *tornfs.Disk, image, done string) {
	t.Helper()
	dir, image := t.TempDir(), t.TempDir()
	disk, stop, err := tornfs.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorldIn(t, dir)
		disk.Sync()
		disk.CutAfter(cut)
		done = tell(w)
	})
	if err := disk.Survives(image); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	return disk, image, done
}

// goesOn boots from what a disk has, and lets the trial come to its end.
func goesOn(t *testing.T, image, done string) {
	w := &world{t: t, journal: trial.Journal{Dir: filepath.Join(image, "trial"), LastGood: filepath.Join(image, "last-good.toml")}}
	w.reboot("tuesday")
	if w.running != oldText && w.running != newText || done != "" && w.running != done {
		t.Fatalf("%q runs after the cut, want %q (empty: one of the two)", w.running, done)
	}
	if _, err := os.Stat(filepath.Join(w.journal.Dir, "trial.json")); err == nil {
		if err := w.resume(time.Hour); err != nil {
			t.Fatal(err)
		}
		if r := w.trial.Record(); r.Phase.Open() {
			t.Errorf("it is still %s", r.Phase)
		}
	}
	ran := w.running
	if w.reboot("wednesday"); w.running != ran || w.running != oldText && w.running != newText {
		t.Errorf("%q ran, and after another boot %q", ran, w.running)
	}
	if ran != newText {
		return
	}
	if ok, err := w.trial.Override(t.Context()); !ok || err != nil || w.running != oldText {
		t.Errorf("the way back by hand: %v, %v, %q runs", ok, err, w.running)
	}
}

// mounted runs the rest of a test in a mount namespace of its own, so that nothing
// stays mounted, as root of a user namespace where it is not root.
func mounted(t *testing.T, args ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, append([]string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=10m"}, args...)...)
	cmd.Env = append(os.Environ(), "TRIAL_TEST_CUTS=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = own
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	if err != nil {
		t.Fatalf("in its own namespace: %v", err)
	}
}
