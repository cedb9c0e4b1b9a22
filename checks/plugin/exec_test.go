package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

// offerExec offers a program as a kind of type exec.
func offerExec(t *testing.T, program, more string) stage {
	t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := stage{dir: dir, offer: filepath.Join(dir, "x.toml"), program: program}
	s.write(t, fmt.Sprintf("kind = \"x\"\ntype = \"exec\"\npath = %q\nsha256 = %q\n%s", program, sumOf(b), more))
	return s
}

// offerScript offers a shell script in the same way.
func offerScript(t *testing.T, body, more string) stage {
	t.Helper()
	program := filepath.Join(t.TempDir(), "check_x")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return offerExec(t, program, more)
}

// each gives a stage's kind as a child of ours and in an instance.
func each(t *testing.T, s stage, o Options, f func(t *testing.T, k checks.Kind)) {
	for _, host := range []string{"", beside(t, s.dir)} {
		t.Run(map[bool]string{true: "child", false: "instance"}[host == ""], func(t *testing.T) {
			o.Host = host
			kinds, err := s.load(t, o)
			if err != nil || len(kinds) != 1 {
				t.Fatalf("%d kinds, %v", len(kinds), err)
			}
			f(t, kinds[0])
		})
	}
}

const debian = "/usr/lib/nagios/plugins/" // make needs installs them

// TestMonitoringPlugins runs Debian's, against services that are there, refuse
// and are silent.
func TestMonitoringPlugins(t *testing.T) {
	good, mute, nobody := listener(t, "220 mail.example.net\r\n"), listener(t, ""), closed(t)
	more := fmt.Sprintf("args = [\"-H\", \"127.0.0.1\", \"-p\", \"{target}\", \"-e\", \"{expect}\", \"-w\", \"2\", \"-c\", \"4\", \"-t\", \"30\"]\n"+
		"targets = [%q, %q, %q]\n[choices]\nexpect = [\"220\", \"250\"]\n", good, mute, nobody)
	each(t, offerExec(t, debian+"check_tcp", more), options(), func(t *testing.T, k checks.Kind) {
		r := runAt(t, k, good, nil, long)
		if r.Verdict != checks.OK || !strings.HasPrefix(r.Detail, "TCP OK - ") || len(r.Values) != 1 {
			t.Fatalf("%+v", r)
		}
		v := r.Values[0]
		v.Number, v.Max = 0, nil
		if d := cmp.Diff(checks.Value{Name: "time", Unit: "s", Warn: "2", Crit: "4", Min: new(0.0)}, v); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		if r := runAt(t, k, good, map[string]any{"expect": "250"}, long); r.Verdict != checks.Degraded || r.Reason != checks.Assertion {
			t.Errorf("other answer: %+v", r)
		}
		if r := runAt(t, k, nobody, nil, long); r.Verdict != checks.Failed || r.Reason != checks.Assertion || !strings.Contains(r.Detail, "refused") {
			t.Errorf("refused: %+v", r)
		}
		if r := runAt(t, k, mute, nil, time.Second); r.Verdict != checks.Failed || r.Reason != checks.Timeout {
			t.Errorf("silent: %+v", r)
		}
		for _, address := range []string{"", "22", "-h"} {
			if _, err := k.Make(checks.Target{Address: address}); err == nil || !strings.Contains(err.Error(), "is none of those that") {
				t.Errorf("target %q: %v", address, err)
			}
		}
		if _, err := k.Make(checks.Target{Address: good, Options: map[string]any{"expect": "; rm -rf /"}}); err == nil {
			t.Error("an option that is not offered was accepted")
		}
	})
}

// TestExecSuite holds the kind to what every kind must be.
func TestExecSuite(t *testing.T) {
	good, mute, nobody := listener(t, "220 x\r\n"), listener(t, ""), closed(t)
	more := fmt.Sprintf("args = [\"-H\", \"127.0.0.1\", \"-p\", \"{target}\", \"-e\", \"220\", \"-t\", \"30\"]\ntargets = [%q, %q, %q]\n", good, mute, nobody)
	kinds, err := offerExec(t, debian+"check_tcp", more).load(t, options())
	if err != nil {
		t.Fatal(err)
	}
	checktest.Run(t, checktest.Subject{Kind: kinds[0], Good: checks.Target{Address: good},
		Refusing: &checks.Target{Address: nobody}, RefusingReason: checks.Assertion, Silent: &checks.Target{Address: mute}})
}

// TestExecMisbehaves runs programs that do not keep to the convention.
func TestExecMisbehaves(t *testing.T) {
	for name, c := range map[string]struct {
		script  string
		verdict checks.Verdict
		reason  checks.Reason
		detail  string
	}{
		"ok":               {"echo fine", checks.OK, "", "fine"},
		"warning":          {"echo hm; exit 1", checks.Degraded, checks.Assertion, "hm"},
		"critical":         {"echo oh; exit 2", checks.Failed, checks.Assertion, "oh"},
		"unknown":          {"echo what; exit 3", checks.Unknown, checks.SelfFault, "what"},
		"silent failure":   {"exit 2", checks.Failed, checks.Assertion, "the program said nothing"},
		"other status":     {"echo no; exit 4", checks.Unknown, checks.SelfFault, "PROGRAM: exit status 4, which is none of 0 to 3"},
		"signal":           {"kill -9 $$", checks.Unknown, checks.SelfFault, "PROGRAM: signal: killed, which is none of 0 to 3"},
		"not UTF-8":        {`printf '\377\376 x'`, checks.OK, "", "? x"},
		"hangs":            {"sleep 1000", checks.Failed, checks.Timeout, "the program did not end in time, and was ended"},
		"deaf":             {"trap '' TERM INT HUP; while :; do sleep 1; done", checks.Failed, checks.Timeout, "the program did not end in time, and was ended"},
		"floods":           {"exec cat /dev/zero", checks.Unknown, checks.SelfFault, "PROGRAM: it floods its output"},
		"floods stderr":    {"yes >&2 & sleep 0.2; echo fine", checks.OK, "", "fine"},
		"leaves something": {"setsid sleep 1000 & echo fine", checks.OK, "", "fine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := offerScript(t, c.script, "")
			each(t, s, options(), func(t *testing.T, k checks.Kind) {
				r := runAt(t, k, "", nil, time.Second)
				if got := strings.ReplaceAll(r.Detail, s.program, "PROGRAM"); r.Verdict != c.verdict || r.Reason != c.reason || got != c.detail {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// TestExecLeavesNothing looks for what a run left behind.
func TestExecLeavesNothing(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	s := offerScript(t, "setsid sleep 1000 & echo $! >>"+pids+"; sleep 1000", "")
	each(t, s, options(), func(t *testing.T, k checks.Kind) {
		if r := runAt(t, k, "", nil, 500*time.Millisecond); r.Reason != checks.Timeout {
			t.Errorf("%+v", r)
		}
		b, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.FieldsSeq(string(b)) {
			pid, _ := strconv.Atoi(line)
			until(t, "what it left is gone", func() bool { return pid > 0 && !alive(pid) })
		}
	})
}

func TestExecCancelled(t *testing.T) {
	kinds, err := offerScript(t, "sleep 1000", "").load(t, options())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if r := mustMake(t, kinds[0], "", nil).Run(ctx); r.Verdict != checks.Unknown || r.Reason != checks.NotRun {
		t.Errorf("%+v", r)
	}
}

// TestExecOffers reads offers that contradict themselves.
func TestExecOffers(t *testing.T) {
	for more, want := range map[string]string{
		"type = \"execute\"":                                       `type: "execute" is not "exec"`,
		"targets = [\"a\"]":                                        `targets and choices are of type "exec" only`,
		"type = \"exec\"\ntargets = [\"a\"]":                       "targets: one of targets and {target} is there without the other",
		"type = \"exec\"\nargs = [\"{target}\"]":                   "targets: one of targets and {target} is there without the other",
		"type = \"exec\"\nargs = [\"{warn}\"]":                     "args: there is no choice for {warn}",
		"type = \"exec\"\n[choices]\nwarn = [\"1\"]":               "choices.warn: is nowhere in args",
		"type = \"exec\"\nargs = [\"{w}\"]\n[choices]\nw = []":     "choices.w: is no option with values to choose from",
		"type = \"exec\"\nargs = [\"{W}\"]\n[choices]\nW = [\"\"]": "choices.W: is no option with values to choose from",
	} {
		_, err := parseOffer("x.toml", []byte("kind = \"x\"\npath = \"/x\"\nsha256 = \""+strings.Repeat("0", 64)+"\"\n"+more+"\n"))
		if err == nil || err.Error() != "x.toml: "+want {
			t.Errorf("%q:\ngot  %v\nwant %s", more, err, want)
		}
	}
}

// TestArguments puts in what was chosen, once: a choice is no template.
func TestArguments(t *testing.T) {
	o := Offer{Type: typeExec, Args: []string{"-w", "{warn}", "--on={target}", "{warn}{target}"}, Targets: []string{"{warn}"},
		Choices: map[string][]string{"warn": {"5 %", "{target}"}}}
	got, err := o.arguments(order{Target: "{warn}", Choices: map[string]string{"warn": "{target}"}})
	if want := []string{"-w", "{target}", "--on={warn}", "{target}{warn}"}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPerfdata(t *testing.T) {
	for text, want := range map[string][]checks.Value{
		"rta=11.2ms;100;200;0; pl=20%;40;60;0;100": {
			{Name: "rta", Number: 0.0112, Unit: "s", Warn: "0.1", Crit: "0.2", Min: new(0.0)},
			{Name: "pl", Number: 20, Unit: "%", Warn: "40", Crit: "60", Min: new(0.0), Max: new(100.0)}},
		"'a b'=1 'it''s'=2c":                    {{Name: "a b", Number: 1, Unit: "1"}, {Name: "it's", Number: 2, Unit: "1"}},
		"/=2MB;;10:20;0;4":                      {{Name: "/", Number: 2 << 20, Unit: "By", Crit: "1.048576e+07:2.097152e+07", Min: new(0.0), Max: new(4.0 * (1 << 20))}},
		"x=3;@~:5;7:":                           {{Name: "x", Number: 3, Unit: "1", Warn: "@~:5", Crit: "7:"}},
		"t=0,5s":                                {{Name: "t", Number: 0.5, Unit: "s"}},
		"load=U a=NaN b=+Inf c= =5 d=1x":        {{Name: "d", Number: 1, Unit: "x"}},
		"a=1e308TB b=1KB;;~:1e308;-1e308;1e308": {{Name: "b", Number: 1 << 10, Unit: "By"}},
		"x=1;warn;crit":                         {{Name: "x", Number: 1, Unit: "1"}},
		"x=1;1;2;3;4;5":                         nil,
		"no figures at all":                     nil,
		"'open=1":                               nil,
		"text=a later=2":                        {{Name: "later", Number: 2, Unit: "1"}},
	} {
		if d := cmp.Diff(want, parsePerfdata(text), cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })); d != "" {
			t.Errorf("%q: -want +got:\n%s", text, d)
		}
	}
	detail, values := parseOutput([]byte("DISK OK | /=5B\nmore text\nand more | /boot=6B\n/home=7B\n"))
	if detail != "DISK OK" || len(values) != 3 || values[2].Name != "/home" {
		t.Errorf("%q %+v", detail, values)
	}
}

func FuzzPerfdata(f *testing.F) {
	f.Add("rta=11.2ms;100;200;0; 'a''b'=3;@~:5;7:")
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range parsePerfdata(s) {
			if _, err := json.Marshal(v); err != nil || v.Name == "" || len(v.Name) > textMax {
				t.Errorf("%+v: %v", v, err)
			}
		}
	})
}

func runAt(t *testing.T, k checks.Kind, address string, options map[string]any, within time.Duration) checks.Result {
	t.Helper()
	c, err := k.Make(checks.Target{Check: "x", Address: address, Options: options, Timeout: within})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return c.Run(ctx)
}

// listener says a line to whoever connects, or with none is silent; its port.
func listener(t *testing.T, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprint(c, says)
				if says == "" {
					io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestExecStanding follows what is told of a program that is started for each run.
func TestExecStanding(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	s := offerScript(t, "while ! test -e "+gate+"; do sleep 0.05; done; exit 1", "")
	kinds, err := s.load(t, options())
	if err != nil {
		t.Fatal(err)
	}
	k := kinds[0]
	says := func(state, detail string) {
		t.Helper()
		if st := k.Standing(); st.State != state || !strings.HasPrefix(st.Detail, detail) || detail == "" && st.Detail != "" {
			t.Errorf("%+v", st)
		}
	}
	says(checks.ProgramIdle, "")
	done := make(chan checks.Result, 1)
	go func() { done <- mustMake(t, k, "", nil).Run(t.Context()) }()
	until(t, "it runs", func() bool { return k.Standing().State == checks.ProgramRunning })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-done
	says(checks.ProgramIdle, "last run degraded, 0s ago")
	if err := os.Remove(s.program); err != nil {
		t.Fatal(err)
	}
	says(checks.ProgramAbsent, s.program+": ")
}
