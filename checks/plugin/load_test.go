package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/checks"
)

// TestRefused gives Load what it must not start, and compares the message.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		change func(t *testing.T, s stage)
		want   string // DIR stands for the folder
	}{
		{name: "wrong checksum", change: func(t *testing.T, s stage) {
			edit(t, s, "sha256 = \"", "sha256 = \"00000000", 8)
		}, want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: its sha256 is SUM, and DIR/puppet.toml says SUM`},
		{name: "program that others may write", change: chmod("program", 0o775),
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: mode 0775 lets others write to it`},
		{name: "program that nobody may run", change: chmod("program", 0o644),
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: mode 0644 lets nobody run it`},
		{name: "offer that others may write", change: chmod("offer", 0o666),
			want: `DIR/puppet.toml: mode 0666 lets others write to it`},
		{name: "folder that others may write", change: chmod("dir", 0o777),
			want: `DIR: mode 0777 lets others write to it`},
		{name: "no program", change: func(t *testing.T, s stage) {
			if err := os.Remove(s.program); err != nil {
				t.Fatal(err)
			}
		}, want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: no such file or directory`},
		{name: "folder as program", change: func(t *testing.T, s stage) { edit(t, s, "/ginnel-check-puppet", "", 0) },
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR: is not a regular file`},
		{name: "relative path", change: func(t *testing.T, s stage) { edit(t, s, s.dir+"/ginnel", "ginnel", 0) },
			want: `DIR/puppet.toml: path: "ginnel-check-puppet" is not an absolute path`},
		{name: "unknown key", change: func(t *testing.T, s stage) { edit(t, s, "args =", "arguments =", 0) },
			want: `DIR/puppet.toml:4:1: arguments: unknown key`},
		{name: "wrong type", change: func(t *testing.T, s stage) { edit(t, s, "args = []", "args = 3", 0) },
			want: `DIR/puppet.toml:4:8: args: is of the wrong type`},
		{name: "no kind", change: func(t *testing.T, s stage) { edit(t, s, "kind = \"puppet\"\n", "", 0) },
			want: `DIR/puppet.toml: kind: is missing`},
		{name: "no path", change: func(t *testing.T, s stage) { edit(t, s, "path", "#", 0) },
			want: `DIR/puppet.toml: path: is missing`},
		{name: "no checksum", change: func(t *testing.T, s stage) { edit(t, s, "sha256", "#", 0) },
			want: `DIR/puppet.toml: sha256: is missing`},
		{name: "short checksum", change: func(t *testing.T, s stage) { edit(t, s, "sha256 = \"", "sha256 = \"abc\" #", 0) },
			want: `DIR/puppet.toml: sha256: is not 64 hexadecimal digits`},
		{name: "other kind", change: func(t *testing.T, s stage) { edit(t, s, "kind = \"puppet\"", "kind = \"dicom\"", 0) },
			want: `DIR/puppet.toml: kind "dicom" is not there: the program has no kind "dicom"; it has ["clinical" "puppet" "second"]`},
		{name: "other protocol", args: []string{"from-the-future"},
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: speaks version 2 of the plugin protocol, this agent speaks 1`},
		{name: "dies at once", args: []string{"dies"},
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: ended before it could be used (exit status 3)`},
		{name: "only text", change: func(t *testing.T, s stage) { script(t, s, "not a program\n") },
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: is no program of this machine, and no script`},
		{name: "no interpreter", change: func(t *testing.T, s stage) { script(t, s, "#!/nowhere/python3\n") },
			want: `DIR/puppet.toml: kind "puppet" is not there: DIR/ginnel-check-puppet: the interpreter in its first line is not there`},
		{name: "no plugin", change: func(t *testing.T, s stage) {
			text := "kind = \"true\"\npath = \"" + s.dir + "/copy\"\nsha256 = \"" + copyFile(t, "/bin/true", s.dir+"/copy") + "\"\n"
			s.write(t, text)
		}, want: `DIR/puppet.toml: kind "true" is not there: DIR/copy: ended before it could be used (exit status 0)`},
		{name: "twice", change: func(t *testing.T, s stage) {
			text, err := os.ReadFile(s.offer)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(s.dir, "a.toml"), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}, want: `DIR/puppet.toml: kind "puppet" is offered by DIR/a.toml already`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set(t, "puppet", c.args...)
			if c.change != nil {
				c.change(t, s)
			}
			kinds, err := s.load(t, options())
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(c.want, "is not there") {
				isLate(t, kinds)
			} else if len(kinds) > 0 && c.name != "twice" {
				t.Errorf("%d kinds", len(kinds))
			}
			got := strings.ReplaceAll(err.Error(), s.dir, "DIR")
			for word := range strings.FieldsSeq(got) {
				if word = strings.Trim(word, ","); len(word) == 64 {
					got = strings.ReplaceAll(got, word, "SUM")
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// isLate holds that there is one kind, and that its checks say why they are not
// run, when they are made or when they run.
func isLate(t *testing.T, kinds []checks.Kind) {
	t.Helper()
	if len(kinds) != 1 || !kinds[0].Late {
		t.Fatalf("kinds %+v, should be one that is late", kinds)
	}
	check, err := kinds[0].Make(checks.Target{Address: "pid", Timeout: long, Options: map[string]any{"count": int64(3)}})
	if err != nil {
		return
	}
	if r := check.Run(t.Context()); r.Verdict != checks.Unknown || r.Reason != checks.NotRun ||
		!strings.HasPrefix(r.Detail, "the plugin is not there: ") {
		t.Errorf("%+v", r)
	}
}

// A program that is not there when the agent starts may come later: then the
// checks of its kind run, and options that it does not like are told.
func TestComesLater(t *testing.T) {
	s := set(t, "puppet")
	if err := os.Rename(s.program, s.program+".away"); err != nil {
		t.Fatal(err)
	}
	kinds, err := s.load(t, options())
	if err == nil {
		t.Fatal("there is no program, and no error")
	}
	isLate(t, kinds)
	good := mustMake(t, kinds[0], "pid", map[string]any{"count": int64(3)})
	bad := mustMake(t, kinds[0], "pid", map[string]any{"count": int64(10)})
	if err := os.Rename(s.program+".away", s.program); err != nil {
		t.Fatal(err)
	}
	until(t, "the check runs", func() bool { return good.Run(t.Context()).Verdict == checks.OK })
	if r := bad.Run(t.Context()); r.Reason != checks.NotRun || !strings.Contains(r.Detail, "10 is more than 9") {
		t.Errorf("%+v", r)
	}
	if _, err := kinds[0].Make(checks.Target{Address: "pid", Options: map[string]any{"count": int64(10)}}); err == nil {
		t.Error("a program that is there was not asked about the options")
	}
}

// edit replaces a part of the offer; with cut it drops as many bytes behind it.
func edit(t *testing.T, s stage, old, with string, cut int) {
	t.Helper()
	b, err := os.ReadFile(s.offer)
	before, after, ok := strings.Cut(string(b), old)
	if err != nil || !ok {
		t.Fatalf("%q is not in the offer: %v", old, err)
	}
	s.write(t, before+with+after[cut:])
}

func chmod(what string, mode os.FileMode) func(*testing.T, stage) {
	return func(t *testing.T, s stage) {
		path := map[string]string{"program": s.program, "offer": s.offer, "dir": s.dir}[what]
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOwner looks at files of somebody else.
func TestOwner(t *testing.T) {
	s := set(t, "puppet")
	info, err := os.Stat(s.program)
	if err != nil {
		t.Fatal(err)
	}
	if why, _ := trusted(info, uint32(os.Getuid())); why != nil {
		t.Error(why)
	}
	if os.Getuid() != 0 {
		why, _ := trusted(info, 0)
		want := fmt.Sprintf("belongs to uid %d, not to root", os.Getuid())
		if why == nil || why.Error() != want {
			t.Errorf("got %v, want %s", why, want)
		}
		return
	}
	if err := os.Chown(s.program, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err = s.load(t, Options{})
	if err == nil || !strings.Contains(err.Error(), "belongs to uid 65534, not to root") {
		t.Errorf("got %v", err)
	}
	if file, ok := errors.AsType[*FileError](err); !ok || file.Hint != "chown root:root "+s.program {
		t.Errorf("no hint: %+v", file)
	}
}

// TestVerifiedIsExecuted changes the program in the moment between looking at
// it and starting it: what was looked at is started.
func TestVerifiedIsExecuted(t *testing.T) {
	s := set(t, "puppet")
	o := options()
	swapped := 0
	o.verified = func() {
		swapped++
		if err := os.Remove(s.program); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(s.program, []byte("#!/bin/sh\nexit 9\n"), 0o755); err != nil {
			t.Error(err)
		}
	}
	kinds, err := s.load(t, o)
	if err != nil || swapped != 1 || run(t, kinds[0], "").Verdict != checks.OK {
		t.Errorf("swapped %d times, %v", swapped, err)
	}
}

// TestOthersGoOn has one bad offer beside a good one.
func TestOthersGoOn(t *testing.T) {
	s := set(t, "puppet")
	if err := os.WriteFile(filepath.Join(s.dir, "a.toml"), []byte("kind ="), 0o644); err != nil {
		t.Fatal(err)
	}
	kinds, err := s.load(t, options())
	if err == nil || len(kinds) != 1 || run(t, kinds[0], "").Verdict != checks.OK {
		t.Errorf("%d kinds, %v", len(kinds), err)
	}
}

func TestNoFolder(t *testing.T) {
	kinds, err := Load(t.Context(), filepath.Join(t.TempDir(), "none"), options())
	if len(kinds) != 0 || err != nil {
		t.Errorf("%d kinds, %v", len(kinds), err)
	}
}

func TestVerify(t *testing.T) {
	s := set(t, "puppet", "an argument")
	offer, err := Inspect(s.offer, options())
	if err != nil {
		t.Fatal(err)
	}
	kinds, end, err := Try(t.Context(), offer, options())
	if err != nil || len(kinds) != 1 {
		t.Fatalf("%d kinds, %v", len(kinds), err)
	}
	defer end()
	kind := kinds[0]
	if offer.Path != s.program || offer.Args[0] != "an argument" || kind.Doc != puppet().Doc || len(kind.Schema) != len(puppet().Schema) {
		t.Errorf("%+v %+v", offer, kind)
	}
}

// TestSlow obeys the deadline, whether the check does or not.
func TestSlow(t *testing.T) {
	k := perform(t)
	for _, address := range []string{"wait", "deaf"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		begin := time.Now()
		r := mustMake(t, k, address, nil).Run(ctx)
		cancel()
		if r.Verdict != checks.Failed || r.Reason != checks.Timeout || r.Detail == "" {
			t.Errorf("%s: %+v", address, r)
		}
		t.Logf("%s: ended after %v", address, time.Since(begin).Round(time.Millisecond))
	}
}

// TestBusy runs a check again that has not ended.
func TestBusy(t *testing.T) {
	check := mustMake(t, perform(t), "deaf", nil)
	for i, want := range []checks.Reason{checks.Timeout, checks.SelfFault} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if r := check.Run(ctx); r.Reason != want {
			t.Errorf("run %d: %+v", i+1, r)
		}
		cancel()
	}
}

// TestCancel reaches the plugin.
func TestCancel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ended")
	check := mustMake(t, perform(t), "wait", map[string]any{"file": file})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if r := check.Run(ctx); r.Verdict != checks.Unknown || r.Reason != checks.NotRun {
		t.Errorf("%+v", r)
	}
	until(t, "the plugin's context has ended", func() bool {
		b, _ := os.ReadFile(file)
		return string(b) == context.Canceled.Error()
	})
}

// TestSurroundings are what we gave the plugin, and nothing of the agent's.
func TestSurroundings(t *testing.T) {
	t.Setenv("GINNEL_TEST_SECRET", "hunter2")
	k := perform(t, "one", "two words")
	env := run(t, k, "env").Detail
	if strings.Contains(env, "hunter2") || strings.Contains(env, "GOPATH") || !strings.Contains(env, "LANG=C.UTF-8") {
		t.Errorf("environment: %s", env)
	}
	if args := run(t, k, "args").Detail; !strings.HasSuffix(args, "/ginnel-check-puppet one two words") {
		t.Errorf("arguments: %s", args)
	}
	if comm := run(t, k, "comm").Detail; comm != "ginnel-check-pu" {
		t.Errorf("name: %s", comm)
	}
	status := run(t, k, "status").Detail
	for _, line := range []string{"NoNewPrivs:\t1", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(status, line) {
			t.Errorf("no %q in its status", line)
		}
	}
}

// TestOutput of a plugin is in the agent's log.
func TestOutput(t *testing.T) {
	log := &logged{}
	o := options()
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	kinds, err := set(t, "puppet").load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, kinds[0], "say")
	until(t, "both lines are in the log", func() bool {
		s := log.String()
		return strings.Contains(s, `line="a line on stdout"`) && strings.Contains(s, `line="a line on stderr"`)
	})
}

func TestLines(t *testing.T) {
	log := &logged{}
	l := &lines{log: slog.New(slog.NewTextHandler(log, nil))}
	for _, s := range []string{"one\ntw", "o\n\n  \n", strings.Repeat("x", lineMax+1)} {
		fmt.Fprint(l, s)
	}
	fmt.Fprint(l, strings.Repeat("again\n", 2*spanLines))
	s := log.String()
	if !strings.Contains(s, "line=one\n") || !strings.Contains(s, "line=two\n") || !strings.Contains(s, "line="+strings.Repeat("x", lineMax)) {
		t.Errorf("%.300s", s)
	}
	if n := strings.Count(s, "the plugin says too much"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	if n := strings.Count(s, "\n"); n != spanLines+1 {
		t.Errorf("%d lines", n)
	}
}

// lockedAndGone ends a thread.
func lockedAndGone() {
	runtime.LockOSThread()
	time.Sleep(time.Millisecond)
}

func copyFile(t *testing.T, from, to string) (sum string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return sumOf(b)
}
