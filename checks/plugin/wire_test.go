package plugin

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/checks"
)

// TestSchema comes over the wire as it is.
func TestSchema(t *testing.T) {
	want := puppet().Schema
	got := perform(t).Schema
	count := got["count"]
	if count.Default == int64(3) { // an int is an int64 there
		count.Default = 3
		got["count"] = count
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestOptionsOverTheWire asks the plugin itself, not only the schema here.
func TestOptionsOverTheWire(t *testing.T) {
	k := perform(t)
	for _, c := range []struct {
		name    string
		options map[string]any
		option  string
		err     string
		hint    string
	}{
		{"unknown", map[string]any{"cuont": int64(3)}, "cuont", "unknown option", "count"},
		{"bounds", map[string]any{"count": int64(10)}, "count", "10 is more than 9", "a number"},
		{"type", map[string]any{"yes": "maybe"}, "yes", "maybe (a string) is not true or false", "a choice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := k.New(checks.Target{Options: c.options}) // not Make: that would look here first
			e, ok := errors.AsType[*checks.OptionError](err)
			if !ok || e.Option != c.option || e.Err.Error() != c.err || e.Hint != c.hint {
				t.Errorf("got %+v", err)
			}
		})
	}
	_, err := k.New(checks.Target{Options: map[string]any{"a": int64(1), "b": int64(2)}})
	if many, ok := err.(interface{ Unwrap() []error }); !ok || len(many.Unwrap()) != 2 {
		t.Errorf("two faults: %v", err)
	}
	if _, err = k.New(checks.Target{Address: "nowhere"}); err == nil || err.Error() != `target "nowhere" is not anywhere` {
		t.Errorf("target: %v", err)
	}
	if _, err = k.New(checks.Target{Address: "\xff"}); err == nil {
		t.Error("a target that is not UTF-8 was accepted")
	}
}

// TestSlowToValidate asks no more of a program than a config can wait for.
func TestSlowToValidate(t *testing.T) {
	k := perform(t)
	asked := 0
	var last checks.Check
	for range 20 {
		c, err := k.Make(checks.Target{Check: "x", Address: "ponder"})
		if last = c; err != nil {
			asked++
		}
	}
	if asked < 2 || asked > 10 {
		t.Errorf("of 20 checks %d were validated, by a program that takes 0.6 s for each", asked)
	}
	if last == nil {
		t.Fatal("the last is not there")
	}
	if r := last.Run(t.Context()); r.Verdict != checks.Unknown || r.Reason != checks.NotRun || !strings.Contains(r.Detail, "on reflection") {
		t.Errorf("its first run says %+v", r)
	}
}

// TestTarget is in the plugin what it is here.
func TestTarget(t *testing.T) {
	k := perform(t)
	c, err := k.Make(checks.Target{Address: "target", Network: "kestrel", Timeout: long,
		Source:  []netip.Addr{netip.MustParseAddr("100.64.0.7"), netip.MustParseAddr("2001:db8::7")},
		Options: map[string]any{"yes": true, "list": []any{"a", "b"}, "pause": "1500ms"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "[100.64.0.7 2001:db8::7] kestrel map[count:3 list:[a b] pause:1.5s text:none yes:true]"
	if r := c.Run(t.Context()); r.Detail != want {
		t.Errorf("got  %s\nwant %s", r.Detail, want)
	}
}

// TestResult has the times of the plugin, and a start on our clock.
func TestResult(t *testing.T) {
	k := perform(t)
	before := time.Now()
	r := run(t, k, "")
	if r.Start.Before(before) || r.Start.After(time.Now()) {
		t.Errorf("started at %v", r.Start)
	}
	r.Start = time.Time{}
	want := checks.Result{Verdict: checks.OK, Sent: 1, Received: 1, RTT: []time.Duration{time.Millisecond}, Stamps: checks.KernelStamps}
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	check := mustMake(t, k, "count", nil)
	for i := range 3 {
		if r := check.Run(t.Context()); r.Detail != fmt.Sprint(i+1) {
			t.Errorf("run %d of one check: %s", i+1, r.Detail)
		}
	}
	if r := run(t, k, "count"); r.Detail != "1" {
		t.Errorf("first run of another check: %s", r.Detail)
	}
}

// TestWholeResult comes over the wire as it is, but for what is too much.
func TestWholeResult(t *testing.T) {
	sent := time.Now()
	want := checks.Result{Verdict: checks.Degraded, Reason: checks.Loss, Phase: checks.PhaseResponse, Detail: "1 of 3 lost",
		Start: sent.Add(time.Millisecond), Path: "gn-kestrel-n", RTT: []time.Duration{2, 3}, Stamps: checks.UserStamps, Sent: 3, Received: 2,
		Odd:     checks.Odd{Late: 1, Duplicate: 2, Reordered: 1, Corrupt: 4, Unsent: 5, Dropped: 6},
		Packets: []checks.Packet{{At: 1, RTT: 2, Fate: checks.Answered}, {At: 2, Fate: checks.Lost}},
		Steps:   []checks.Step{{Phase: checks.PhaseConnect, Name: "connect 198.51.100.20:104", Took: 7, Detail: "accepted"}},
		Values:  []checks.Value{{Name: "age", Number: 1.5, Unit: "s", Warn: "10", Crit: "@10:20", Min: new(0.0), Max: new(9.0)}}}
	if d := cmp.Diff(want, fromResult(toResult(want, sent), sent)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	lacks := append(unset(want), unset(want.Odd)...)
	if d := cmp.Diff([]string{"Due", "Blame", "Beside"}, lacks); d != "" { // the runner's own
		t.Errorf("fields that are not tried, -want +got:\n%s", d)
	}
	want.Steps, want.Values = make([]checks.Step, stepsMax+1), make([]checks.Value, stepsMax+1)
	want.Packets, want.RTT = slices.Repeat(want.Packets, rttMax), make([]time.Duration, rttMax+1)
	got := fromResult(toResult(want, sent), sent)
	if len(got.Steps) != stepsMax || len(got.Values) != stepsMax || len(got.Packets) != rttMax || len(got.RTT) != rttMax {
		t.Errorf("%d steps, %d values, %d packets, %d times", len(got.Steps), len(got.Values), len(got.Packets), len(got.RTT))
	}
	for what, r := range map[string]checks.Result{
		"a fate":                                 {Verdict: checks.OK, Packets: []checks.Packet{{Fate: "eaten"}}},
		"a phase":                                {Verdict: checks.OK, Steps: []checks.Step{{Phase: "prologue"}}},
		"a value":                                {Verdict: checks.OK, Values: []checks.Value{{Number: math.NaN()}}},
		`a value "least"`:                        {Verdict: checks.OK, Values: []checks.Value{{Name: "least", Min: new(math.Inf(-1))}}},
		`a value "most"`:                         {Verdict: checks.OK, Values: []checks.Value{{Name: "most", Max: new(math.NaN())}}},
		"a start 8760h0m0s after":                {Verdict: checks.OK, Start: sent.Add(365 * 24 * time.Hour)},
		"a start -1h0m0s after":                  {Verdict: checks.OK, Start: sent.Add(-time.Hour)},
		"a time of 5m0s":                         {Verdict: checks.OK, Sent: 1, Received: 1, RTT: []time.Duration{5 * time.Minute}},
		"a time of -1s":                          {Verdict: checks.OK, Steps: []checks.Step{{Took: -time.Second}}},
		"a time of 2h0m0s":                       {Verdict: checks.OK, Packets: []checks.Packet{{At: 2 * time.Hour, Fate: checks.Lost}}},
		"a count of 4611686018427387904, in one": {Verdict: checks.Failed, Reason: checks.Loss, Sent: 1 << 62},
		"a count of 1000001":                     {Verdict: checks.OK, Odd: checks.Odd{Duplicate: 1_000_001}},
	} {
		if got := fromResult(toResult(r, sent), sent); got.Reason != checks.SelfFault || !strings.HasPrefix(got.Detail, "the plugin gave "+what) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// unset are the names of a struct's fields that have their zero value.
func unset(v any) (names []string) {
	for f, value := range reflect.ValueOf(v).Fields() {
		if value.IsZero() {
			names = append(names, f.Name)
		}
	}
	return names
}

// TestBadResults are faults of the plugin, never of the target.
func TestBadResults(t *testing.T) {
	k := perform(t)
	for address, want := range map[string]string{
		"panic":    "the check panicked: the strings are cut",
		"nonsense": `the plugin gave a reason that there is not: "gremlins"`,
	} {
		if r := run(t, k, address); r.Verdict != checks.Unknown || r.Reason != checks.SelfFault || r.Detail != want {
			t.Errorf("%s: %+v", address, r)
		}
	}
	if pidOf(t, k) == 0 {
		t.Error("gone")
	}
}
