package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/checks"
)

// reader reads a folder again and again.
type reader struct {
	*testing.T
	programs *Programs
	kinds    checks.Registry
	faults   string // of the last time
}

// read gives how each kind is beside what it was: "new", "same", "other" or "gone".
func (r *reader) read() map[string]string {
	r.Helper()
	list, err := r.programs.Kinds(r.Context())
	now, clash := checks.NewRegistry(list...)
	if clash != nil {
		r.Fatal(clash)
	}
	news := map[string]string{}
	for _, k := range r.kinds.Kinds() {
		news[k.Name] = "gone"
	}
	for _, k := range now.Kinds() {
		switch before, had := r.kinds.Lookup(k.Name); {
		case !had:
			news[k.Name] = "new"
		case before.Source == k.Source:
			news[k.Name] = "same"
		default:
			news[k.Name] = "other"
		}
	}
	if err := r.kinds.CloseBut(now); err != nil {
		r.Error(err)
	}
	r.kinds, r.faults = now, ""
	if err != nil {
		r.faults = err.Error()
	}
	return news
}

func (r *reader) expect(want map[string]string, faults string) {
	r.Helper()
	if d := cmp.Diff(want, r.read()); d != "" {
		r.Errorf("-want +got:\n%s", d)
	}
	if r.faults != faults {
		r.Errorf("faults:\n%s\nwant:\n%s", r.faults, faults)
	}
}

func (r *reader) pid(kind string) int {
	r.Helper()
	k, _ := r.kinds.Lookup(kind)
	return pidOf(r.T, k)
}

// TestReadAgain changes a folder step by step. What is not changed goes on.
func TestReadAgain(t *testing.T) {
	s := set(t, "puppet")
	offer, err := os.ReadFile(s.offer)
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Reserved = func(kind string) bool { return kind == "tcp" }
	r := &reader{T: t, programs: NewPrograms(s.dir, o)}
	defer func() { r.kinds.Close() }()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	as := func(kind string) string {
		return strings.Replace(string(offer), `"puppet"`, fmt.Sprintf("%q", kind), 1)
	}
	const same, other, anew, gone = "same", "other", "new", "gone"
	r.expect(map[string]string{"puppet": anew}, "")
	first := r.pid("puppet")

	write("second.toml", as("second")) // of the same program
	bad := write("broken.toml", "kind = \"x\"\npaht = \"/usr/bin/true\"\n")
	taken := write("taken.toml", as("tcp")+"type = \"exec\"\n") // has nothing to close
	faults := fmt.Sprintf("%s:2:1: paht: unknown key\n%s: kind \"tcp\" is built in", bad, taken)
	r.expect(map[string]string{"puppet": same, "second": anew}, faults)
	if r.pid("puppet") != first || r.pid("second") != first {
		t.Error("the program was started anew, or twice")
	}
	os.Remove(bad)
	os.Remove(taken)

	script := write("x", "#!/bin/sh\n")
	os.Chmod(script, 0o755)
	exec := fmt.Sprintf("kind = \"x\"\ntype = \"exec\"\npath = %q\nsha256 = %q\n", script, sumOf([]byte("#!/bin/sh\n")))
	write("x.toml", exec)
	r.expect(map[string]string{"puppet": same, "second": same, "x": anew}, "")
	write("x.toml", exec+"args = [\"-v\"]\n")
	r.expect(map[string]string{"puppet": same, "second": same, "x": other}, "")

	write("puppet.toml", strings.Replace(string(offer), "args = [", `args = ["anew"`, 1)) // another program
	r.expect(map[string]string{"puppet": other, "second": same, "x": same}, "")
	later := r.pid("puppet")
	if later == first || r.pid("second") != first {
		t.Errorf("the changed program has pid %d, the other %d; both had %d", later, r.pid("second"), first)
	}

	if k, _ := r.kinds.Lookup("second"); k.Source.(*remote).process.offer("puppet").File != "" {
		t.Error("its process still looks after the offer of another program")
	}
	r.dies("second", first)

	write("puppet.toml", "kind = 4\n")
	r.expect(map[string]string{"puppet": same, "second": same, "x": same},
		s.offer+":1:8: kind: is of the wrong type")
	if r.pid("puppet") != later {
		t.Error("a file that cannot be read any more ended its program")
	}
	os.Remove(s.offer)
	r.expect(map[string]string{"puppet": gone, "second": same, "x": same}, "")
	until(t, "the program that is offered no more is gone", func() bool { return !alive(later) })
	moved := filepath.Join(s.dir, "third.toml")
	if err := os.Rename(filepath.Join(s.dir, "second.toml"), moved); err != nil {
		t.Fatal(err)
	}
	r.expect(map[string]string{"second": same, "x": same}, "")
	k, _ := r.kinds.Lookup("second")
	if file := k.Source.(*remote).process.offer("second").File; file != moved {
		t.Errorf("its offer is looked for at %s", file)
	}
}

// dies kills the program of a kind, and waits until it is there again.
func (r *reader) dies(kind string, pid int) {
	r.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		r.Fatal(err)
	}
	k, _ := r.kinds.Lookup(kind)
	until(r.T, "the program is back", func() bool {
		got := run(r.T, k, "pid")
		return got.Verdict == checks.OK && got.Detail != strconv.Itoa(pid)
	})
}

// TestOtherWordsAfterAnOffer has an owner put another program in the place of one,
// which says other things of itself.
func TestOtherWordsAfterAnOffer(t *testing.T) {
	s := set(t, "puppet")
	r := &reader{T: t, programs: NewPrograms(s.dir, options())}
	defer func() { r.kinds.Close() }()
	r.read()
	k, _ := r.kinds.Lookup("puppet")
	p := k.Source.(*remote).process
	p.mu.Lock()
	p.live.kinds["puppet"].Doc = "says something else now"
	p.mu.Unlock()
	before := r.pid("puppet")
	r.expect(map[string]string{"puppet": "other"}, "")
	if k, _ := r.kinds.Lookup("puppet"); k.Doc != "says something else now" || r.pid("puppet") != before {
		t.Errorf("%q, pid %d; before %d", k.Doc, r.pid("puppet"), before)
	}
	if file := p.offer("puppet").File; file != s.offer {
		t.Errorf("its offer is looked for at %q", file)
	}
}

// TestFolderThatIsNotTrusted keeps what runs.
func TestFolderThatIsNotTrusted(t *testing.T) {
	s := set(t, "puppet")
	r := &reader{T: t, programs: NewPrograms(s.dir, options())}
	defer func() { r.kinds.Close() }()
	r.read()
	if err := os.Chmod(s.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r.expect(map[string]string{"puppet": "same"}, s.dir+": mode 0777 lets others write to it")
	_, err := r.programs.Kinds(t.Context())
	if f, ok := errors.AsType[*FileError](err); !ok || f.Hint != "chmod go-w "+s.dir {
		t.Errorf("%v", err)
	}
	if !slices.ContainsFunc(r.kinds.Kinds(), func(k checks.Kind) bool { return k.Name == "puppet" }) {
		t.Error("it is gone")
	}
}
