package trial_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/trial"
)

// Each takes some pages of a disk.
var oldText, newText, newerText = configOf(1), configOf(2), configOf(3)

func configOf(generation int) string {
	return fmt.Sprintf("generation = %d\n# %s\n", generation, strings.Repeat(fmt.Sprint(generation), 9000))
}

// world is a gateway and what is around it, as a test says.
type world struct {
	t       *testing.T
	journal trial.Journal
	boot    string
	trial   *trial.Trial
	alone   bool // no collector

	mu      sync.Mutex // of running, fresh and answered, for the collector beside
	running string     // the config; empty: none
	runs    []string
	signers []string // bundles whose signers were taken over
	since   time.Time

	dead     func(name, running string) bool // of tunnels and checks; nil: none is
	unsure   bool                            // nothing is measured
	away     func(running string) bool       // the collector gives no receipt; nil: it does
	beside   bool                            // it answers on a marked socket
	plain    bool                            // it answers on one that is not marked, though it gives no receipt
	way      func(running string) string
	forge    func(nonce, hash string) (string, string) // what is signed instead; nil: what was asked
	fresh    int
	answered time.Time
}

func (w *world) Run(_ context.Context, text []byte) error {
	if strings.Contains(string(text), "refused") {
		return errors.New("covers 192.168.10.0/24, the LAN on eth1")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running, w.since = string(text), time.Now()
	w.runs = append(w.runs, w.running)
	return nil
}

func (w *world) Keep(b []byte) error { w.signers = append(w.signers, string(b)); return nil }

func (w *world) Ways(context.Context) []string {
	if w.way == nil {
		return []string{"192.0.2.40: eth0"}
	}
	return []string{"192.0.2.40: " + w.way(w.running)}
}
func (w *world) Fresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, _, asks := w.trial.Asks(); asks && w.fresh == 0 {
		w.t.Error("a receipt was asked for before the way was opened anew")
	}
	w.fresh++
}
func (w *world) Heard() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered
}
func (w *world) Answers(_ context.Context, beside bool) bool {
	return beside && w.beside || !beside && w.plain
}

func (w *world) Tunnels(context.Context, time.Time) []trial.Part {
	return []trial.Part{w.measure("kestrel/hub-north"), w.measure("heron/hub-south")}
}

func (w *world) Required(context.Context, time.Time) []trial.Part {
	return []trial.Part{w.measure("records")}
}

func (w *world) measure(name string) trial.Part {
	p := trial.Part{Name: name, Now: trial.Good}
	switch {
	case w.unsure || time.Since(w.since) < 3*time.Second:
		p.Now = trial.Unsure
	case w.dead != nil && w.dead(name, w.running):
		p.Now, p.Is = trial.Dead, "no answer"
	}
	return p
}

// sign gives receipts, as a collector that hears a message each second.
func (w *world) sign(ctx context.Context) {
	for ctx.Err() == nil {
		nonce, hash, ok := w.trial.Asks()
		w.mu.Lock()
		if ok && w.fresh > 0 && (w.away == nil || !w.away(w.running)) {
			w.answered = time.Now()
			if w.forge != nil {
				nonce, hash = w.forge(nonce, hash)
			}
			w.trial.Receipt(nonce, hash)
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// start is a start of the agent, under the boot that w names.
func (w *world) start() {
	w.trial = &trial.Trial{Journal: w.journal, Boot: w.boot, Host: w, Tunnels: w, Checks: w, Log: slog.New(slog.DiscardHandler)}
	if !w.alone {
		w.trial.Centre = w
	}
}

func newWorld(t *testing.T) *world { return newWorldIn(t, t.TempDir()) }

// newWorldIn has its files in dir.
func newWorldIn(t *testing.T, dir string) *world {
	w := &world{t: t, boot: "monday", journal: trial.Journal{Dir: filepath.Join(dir, "trial"), LastGood: filepath.Join(dir, "last-good.toml")}}
	if err := os.WriteFile(w.journal.LastGood, []byte(oldText), 0o640); err != nil {
		t.Fatal(err)
	}
	w.running = oldText
	w.start()
	return w
}

func signed(text string) bundle.Bundle { return bundletest.New("alice").Bundle(text, bundle.Config) }

// change touches kestrel and the check behind it.
func (w *world) change(text string) trial.Change {
	b := signed(text)
	before := func(name string, touched bool) trial.Part {
		return trial.Part{Name: name, Touched: touched, Wanted: true, Before: trial.Good}
	}
	return trial.Change{Generation: uint64(text[len("generation = ")] - '0'), Hash: b.Hash(), Bundle: b.Bytes(), Limit: 90 * time.Second,
		Tunnels: []trial.Part{before("kestrel/hub-north", true), before("heron/hub-south", false)},
		Checks:  []trial.Part{before("records", true)}}
}

// during runs f, as a trial, beside the collector; it ends after at most d.
func (w *world) during(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	go w.sign(ctx)
	err := f(ctx)
	cancel()
	synctest.Wait()
	return err
}

func (w *world) try(text string) error {
	c := w.change(text)
	return w.during(time.Hour, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
}

func (w *world) resume(d time.Duration) error {
	return w.during(d, func(ctx context.Context) error { return w.trial.Resume(ctx) })
}

// reboot starts anew under another kernel, with what the journal says.
func (w *world) reboot(boot string) {
	w.t.Helper()
	text, _, err := w.journal.Boots(boot)
	if err != nil {
		w.t.Fatal(err)
	}
	w.boot, w.running, w.since = boot, string(text), time.Now()
	w.start()
}

// is checks how it stands now, in memory and on disk.
func (w *world) is(phase trial.Phase, running, reason string) {
	w.t.Helper()
	r, err := w.journal.Read()
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Phase != phase || w.trial.Record().Phase != phase || w.running != running || !strings.Contains(r.Reason, reason) || (reason == "") != (r.Reason == "") {
		w.t.Errorf("%s (shown: %s), %q runs, because %q; want %s, %q, %q", r.Phase, w.trial.Record().Phase, w.running, r.Reason, phase, running, reason)
	}
	if shown := w.trial.Record(); !phase.Open() && shown.Bundle != nil {
		w.t.Errorf("%s: %d bytes of a config are kept in memory", phase, len(shown.Bundle))
	}
	good, err := os.ReadFile(w.journal.LastGood)
	if want := map[bool]string{true: newText, false: oldText}[phase == trial.Kept && running == newText]; err != nil || string(good) != want && running != newerText {
		w.t.Errorf("the last good config is %q, %v, want %q", good, err, want)
	}
}

// story is a test in a time of its own.
func story(t *testing.T, name string, tell func(w *world)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { tell(newWorld(t)) })
	})
}

func TestTrialsThatEnd(t *testing.T) {
	const kestrel, heron = "kestrel/hub-north", "heron/hub-south"
	under := func(text string, bad ...string) func(string, string) bool {
		return func(name, running string) bool {
			return running == text && strings.Contains(strings.Join(bad, " "), name)
		}
	}
	always := func(string) bool { return true }
	for _, c := range []struct {
		name   string
		world  func(w *world)
		phase  trial.Phase
		reason string
		within time.Duration
	}{
		{"a receipt confirms", func(*world) {}, trial.Kept, "", 10 * time.Second},
		{"look-ups differ", func(w *world) {
			w.away = func(running string) bool { return running == newText }
			w.way = func(running string) string {
				return map[bool]string{true: "gn-kestrel-n", false: "eth0"}[running == newText]
			}
		}, trial.Failed, "the way to it has changed", 90 * time.Second},
		{"it answers beside our tables", func(w *world) { w.away, w.beside = always, true }, trial.Failed, "beside our tables only", 90 * time.Second},
		{"a touched tunnel dies", func(w *world) { w.dead = under(newText, kestrel) }, trial.Failed, kestrel + " was good and is dead", 90 * time.Second},
		{"a touched tunnel dies, collector away", func(w *world) { w.dead, w.away = under(newText, kestrel), always }, trial.Failed, kestrel + " was good", 90 * time.Second},
		{"an untouched tunnel dies", func(w *world) { w.dead = under(newText, heron) }, trial.Kept, "", 10 * time.Second},
		{"a required check fails", func(w *world) { w.dead = under(newText, "records") }, trial.Failed, "records was good and is dead", 90 * time.Second},
		{"a touched tunnel stays dead", func(w *world) {
			w.dead = func(name, _ string) bool { return name == kestrel && time.Since(w.since) > time.Second }
		}, trial.Failed, "inconclusive: " + kestrel + " is dead under the old config too", 120 * time.Second},
		{"a touched tunnel and its check stay dead", func(w *world) {
			w.dead = func(name, _ string) bool { return name != heron }
		}, trial.Failed, "inconclusive: kestrel/hub-north, records are dead", 120 * time.Second},
		{"no collector, all good", func(w *world) { w.alone = true }, trial.Kept, "", 10 * time.Second},
		{"no collector, a touched tunnel dies", func(w *world) { w.alone, w.dead = true, under(newText, kestrel) }, trial.Failed, "was good and is dead", 90 * time.Second},
	} {
		story(t, c.name, func(w *world) {
			c.world(w)
			w.start()
			began := time.Now()
			if err := w.try(newText); err != nil {
				w.t.Fatal(err)
			}
			running := map[bool]string{true: newText, false: oldText}[c.phase == trial.Kept]
			w.is(c.phase, running, c.reason)
			if took := time.Since(began); took > c.within {
				w.t.Errorf("it took %v, want at most %v", took, c.within)
			}
			if r := w.trial.Record(); len(r.Evidence) == 0 {
				w.t.Error("no evidence")
			}
			if (len(w.signers) == 1) != (c.phase == trial.Kept) {
				w.t.Errorf("signers of %d configs were taken over", len(w.signers))
			}
		})
	}
}

func TestConfigThatCannotBeAppliedFails(t *testing.T) {
	story(t, "", func(w *world) {
		if err := w.try("generation = 2 # refused\n"); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Failed, oldText, "could not be applied")
		if w.runs[0] != oldText {
			w.t.Errorf("ran %q", w.runs)
		}
	})
}

func TestHoldSurvivesRebootAndEndsAtTheNextReceipt(t *testing.T) {
	story(t, "", func(w *world) {
		w.away = func(string) bool { return true }
		c := w.change(newText)
		err := w.during(3*time.Minute, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
		if !errors.Is(err, trial.ErrInterrupted) {
			w.t.Fatal(err)
		}
		w.is(trial.Held, newText, "ways to it are as before")
		w.reboot("tuesday")
		// What is proved stays so: on the second day the hub dies, and the way
		// to the collector becomes another.
		w.dead = func(name, _ string) bool { return true }
		w.way = func(string) string { return "eth1" }
		if err := w.resume(24 * time.Hour); !errors.Is(err, trial.ErrInterrupted) {
			w.t.Fatal(err)
		}
		w.is(trial.Held, newText, "ways to it are as before")
		w.reboot("wednesday")
		w.away = nil
		if err := w.resume(time.Minute); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Kept, newText, "")
	})
}

func TestHoldEndsAtANewerGeneration(t *testing.T) {
	story(t, "", func(w *world) {
		w.away = func(string) bool { return true }
		c := w.change(newText)
		if err := w.during(3*time.Minute, func(ctx context.Context) error { return w.trial.Run(ctx, c) }); !errors.Is(err, trial.ErrInterrupted) {
			w.t.Fatal(err)
		}
		w.is(trial.Held, newText, "as before")
		w.away = nil
		w.dead = func(name, running string) bool { return running == newerText && name == "kestrel/hub-north" }
		if err := w.try(newerText); err != nil {
			w.t.Fatal(err)
		}
		// It is the one that was kept last that is gone back to.
		w.is(trial.Failed, oldText, "was good and is dead")
	})
}

// A tunnel that one config took away, unproved, and the next has again, is judged
// by how it was before both; and so is where its hub was called.
func TestWhatAnOpenTrialTookAwayCountsAgain(t *testing.T) {
	const kestrel, heron = "kestrel/hub-north", "heron/hub-south"
	at := netip.MustParseAddrPort("192.0.2.10:51820")
	story(t, "", func(w *world) {
		w.away = func(string) bool { return true }
		c := w.change(newText)
		c.Tunnels[0].Left, c.Tunnels[1].Wanted, c.Tunnels[1].Touched = at, false, true
		_ = w.during(30*time.Second, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
		w.is(trial.Trying, newText, "")
		w.away = nil
		w.dead = func(name, running string) bool { return running == newerText && name == heron }
		c = w.change(newerText)
		c.Tunnels = []trial.Part{{Name: kestrel, Touched: true, Wanted: true}, {Name: heron, Touched: true, Wanted: true}}
		err := w.during(time.Hour, func(ctx context.Context) error {
			time.AfterFunc(time.Second, func() {
				if got := w.trial.Record().Tunnels[0].Left; got != at {
					w.t.Errorf("the hub of kestrel was called at %v, want %v", got, at)
				}
			})
			return w.trial.Run(ctx, c)
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Failed, oldText, heron+" was good and is dead")
	})
}

// A disk that takes nothing for a while delays the end of a trial, and no more.
func TestDiskThatTakesNothingForAWhile(t *testing.T) {
	for _, dead := range []bool{false, true} {
		story(t, "", func(w *world) {
			w.dead = func(_, running string) bool { return dead && running == newText }
			blocked := w.journal.LastGood // a folder in its place
			if dead {
				blocked = filepath.Join(w.journal.Dir, "trial.json")
			}
			time.AfterFunc(time.Second, func() { // once it has begun
				if err := errors.Join(os.Rename(blocked, blocked+".away"), os.Mkdir(blocked, 0o700)); err != nil {
					w.t.Error(err)
				}
			})
			time.AfterFunc(10*time.Minute, func() {
				if err := errors.Join(os.Remove(blocked), os.Rename(blocked+".away", blocked)); err != nil {
					w.t.Error(err)
				}
			})
			if err := w.try(newText); err != nil {
				w.t.Fatal(err)
			}
			if dead {
				w.is(trial.Failed, oldText, "were good and are dead")
			} else {
				w.is(trial.Kept, newText, "")
			}
		})
	}
}

func TestRebootDuringATrialGoesBack(t *testing.T) {
	story(t, "", func(w *world) {
		w.away = func(string) bool { return true }
		c := w.change(newText)
		_ = w.during(30*time.Second, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
		w.is(trial.Trying, newText, "")
		w.reboot("monday") // of the agent only: the trial goes on
		if w.running != newText {
			w.t.Errorf("after a restart of the agent %q runs", w.running)
		}
		w.away = nil
		_ = w.resume(2 * time.Second)
		w.is(trial.Trying, newText, "")
		w.reboot("tuesday")
		if w.running != oldText {
			w.t.Errorf("after a restart of the gateway %q runs", w.running)
		}
		if err := w.resume(time.Hour); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Failed, oldText, "inconclusive: nobody knows")
	})
}

// A journal whose config does not belong to its hash, as a disk may leave it, has
// the site run its last good config.
func TestDamagedTrialBootsTheLastGood(t *testing.T) {
	story(t, "", func(w *world) {
		w.away = func(string) bool { return true }
		c := w.change(newText)
		_ = w.during(10*time.Second, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
		r, err := w.journal.Read()
		if err != nil {
			w.t.Fatal(err)
		}
		r.Hash = strings.Repeat("0", 64)
		if err := w.journal.Write(r); err != nil {
			w.t.Fatal(err)
		}
		text, r, err := w.journal.Boots(w.boot)
		if string(text) != oldText || r.Phase != "" || err == nil {
			w.t.Errorf("%q boots, %s, %v; want the last good one, and why", text, r.Phase, err)
		}
	})
}

// The deadline is kept as a time of day. Where the clock was set back meanwhile, a
// trial that goes on after a restart of the agent has its time once more, not a
// year.
func TestClockSetBackDuringATrial(t *testing.T) {
	story(t, "", func(w *world) {
		w.away = func(string) bool { return true }
		w.beside = true
		c := w.change(newText)
		_ = w.during(10*time.Second, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
		r, err := w.journal.Read()
		if err != nil {
			w.t.Fatal(err)
		}
		r.Began, r.Until = r.Began.AddDate(1, 0, 0), r.Until.AddDate(1, 0, 0)
		if err := w.journal.Write(r); err != nil {
			w.t.Fatal(err)
		}
		w.reboot("monday")
		if err := w.resume(2 * r.Limit); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Failed, oldText, "the collector answers beside our tables only")
	})
}

func TestTimeIsExtendedWhileItGetsOn(t *testing.T) {
	// from a second on, each part comes up after a while
	comes := func(w *world, tunnel, check time.Duration) {
		began := time.Now()
		w.dead = func(name, running string) bool {
			after := map[string]time.Duration{"kestrel/hub-north": tunnel, "records": check}[name]
			return running == newText && time.Since(began) < after
		}
	}
	story(t, "to the end", func(w *world) {
		comes(w, 74*time.Second, 85*time.Second)
		if err := w.try(newText); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Kept, newText, "")
	})
	story(t, "but not without progress", func(w *world) {
		comes(w, 40*time.Second, 85*time.Second)
		if err := w.try(newText); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Failed, oldText, "records was good and is dead")
	})
}

func TestReceiptOfAnotherTrialProvesNothing(t *testing.T) {
	for _, forge := range []func(nonce, hash string) (string, string){
		func(_, hash string) (string, string) { return "another", hash },
		func(nonce, _ string) (string, string) { return nonce, "another" },
	} {
		story(t, "", func(w *world) {
			w.forge = forge
			c := w.change(newText)
			_ = w.during(3*time.Minute, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
			w.is(trial.Held, newText, "signed no receipt")
		})
	}
}

func TestRollbackByHand(t *testing.T) {
	story(t, "of what was kept", func(w *world) {
		if err := w.try(newText); err != nil {
			w.t.Fatal(err)
		}
		if ok, err := w.trial.Override(w.t.Context()); !ok || err != nil {
			w.t.Fatal(ok, err)
		}
		w.is(trial.Overridden, oldText, "by hand")
		w.reboot("tuesday")
		if w.running != oldText {
			w.t.Errorf("after a reboot %q runs", w.running)
		}
		if ok, err := w.trial.Override(w.t.Context()); ok || err != nil {
			w.t.Errorf("a second time: %v, %v", ok, err)
		}
		if err := w.try(newerText); err != nil {
			w.t.Fatal(err)
		}
		w.is(trial.Kept, newerText, "")
	})
	story(t, "of what is held", func(w *world) {
		w.away = func(string) bool { return true }
		c := w.change(newText)
		_ = w.during(3*time.Minute, func(ctx context.Context) error { return w.trial.Run(ctx, c) })
		if ok, err := w.trial.Override(w.t.Context()); !ok || err != nil {
			w.t.Fatal(ok, err)
		}
		w.is(trial.Overridden, oldText, "by hand")
	})
	story(t, "of the first one", func(w *world) {
		if err := os.Remove(w.journal.LastGood); err != nil {
			w.t.Fatal(err)
		}
		if err := w.try(newText); err != nil {
			w.t.Fatal(err)
		}
		if ok, err := w.trial.Override(w.t.Context()); ok || err != nil {
			w.t.Errorf("%v, %v: there is none to go back to", ok, err)
		}
	})
}

func TestFirstConfigGoesBackToNone(t *testing.T) {
	story(t, "", func(w *world) {
		if err := os.Remove(w.journal.LastGood); err != nil {
			w.t.Fatal(err)
		}
		w.running, w.beside = "", true
		w.away = func(string) bool { return true }
		if err := w.try(newText); err != nil {
			w.t.Fatal(err)
		}
		if r := w.trial.Record(); r.Phase != trial.Failed || w.running != "" {
			w.t.Errorf("%s, %q runs", r.Phase, w.running)
		}
		if _, err := os.Stat(w.journal.LastGood); !errors.Is(err, fs.ErrNotExist) {
			w.t.Errorf("a last good config: %v", err)
		}
	})
}
