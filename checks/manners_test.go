package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestIsNational(t *testing.T) {
	m := Manners{National: []string{"portal.example.net", "*.national.example.net", "192.0.2.0/24", "2001:db8::1"}, NotNational: []string{"*.avocet.nhs.uk"}}
	for address, want := range map[string]string{
		"portal.example.net:443":                   "portal.example.net",
		"a.portal.example.net:443":                 "",
		"https://b.a.national.example.net/x?y":     "*.national.example.net",
		"National.Example.NET.:443":                "*.national.example.net",
		"notnational.example.net:443":              "",
		"192.0.2.7":                                "192.0.2.0/24",
		"192.0.3.7:80":                             "",
		"[2001:db8::1]:443":                        "2001:db8::1",
		"https://[2001:db8::1]/":                   "2001:db8::1",
		"ldap.vn03.national.ncrs.nhs.uk:636":       "*.nhs.uk",
		"nhs.uk":                                   "*.nhs.uk",
		"pacs.avocet.nhs.uk:11112":                 "",
		"https://mail.nhs.net":                     "*.nhs.net",
		"https://evil.example.org/https://nhs.uk/": "",
		"": "",
	} {
		if got := m.IsNational(address); got != want {
			t.Errorf("%s is of %q, want %q", address, got, want)
		}
	}
	for _, pattern := range []string{"", "*", "*.", "*nhs.uk", "a.*.nhs.uk", "https://x", "a b", "x:443", "10.0.0.0/33"} {
		if ValidPattern(pattern) == nil {
			t.Errorf("%q is taken for a pattern", pattern)
		}
	}
}

func TestForbidden(t *testing.T) {
	m := Manners{MLLP: []string{"198.51.100.30:6700"}}
	for _, test := range []struct {
		kind, target, beside string
		want                 string
	}{
		{"tcp", "198.51.100.30:2575", "", ""},
		{"http", "http://198.51.100.30:2575/", "", "http://198.51.100.30:2575/ is a listener of HL7: it is connected to, and sent nothing"},
		{"tls", "pas.example.net:6661", "", "pas.example.net:6661 is a listener of HL7: it is connected to, and sent nothing"},
		{"exec", "198.51.100.30:6700", "", "198.51.100.30:6700 is a listener of HL7: it is connected to, and sent nothing"},
		{"tls", "198.51.100.31:6700", "", ""},
		{"tls", "198.51.100.31:02575", "", "198.51.100.31:02575 is a listener of HL7: it is connected to, and sent nothing"},
		{"banner", "198.51.100.20:22", "198.51.100.30:2575", "198.51.100.30:2575 is a listener of HL7: it is connected to, and sent nothing"},
		{"tcp", "x.nhs.uk:443", "", ""},
		{"tcp", "x.nhs.uk:443", "x.nhs.uk:443", "a pair asks twice at once, and x.nhs.uk is national (*.nhs.uk)"},
	} {
		s := Spec{Kind: test.kind, Beside: test.beside, Target: Target{Address: test.target}}
		if got := m.Forbids(s); got != test.want {
			t.Errorf("%s %s %s: %q, want %q", test.kind, test.target, test.beside, got, test.want)
		}
	}
}

// countingKind counts the runs of each target, and what is between two to one.
type countingKind struct {
	mu    sync.Mutex
	asked map[string][]time.Time
}

func (c *countingKind) kind() Kind {
	c.asked = map[string][]time.Time{}
	return Kind{Name: "tcp", New: func(target Target) (Check, error) {
		return Func(func(context.Context) Result {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asked[HostOf(target.Address)] = append(c.asked[HostOf(target.Address)], time.Now())
			return Result{Verdict: OK, Sent: 1, Received: 1}
		}), nil
	}}
}

func (c *countingKind) closest(host string) (n int, gap time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := c.asked[host]
	gap = time.Hour
	for i := range times[1:] {
		gap = min(gap, times[i+1].Sub(times[i]))
	}
	return len(times), gap
}

// TestNationalIsAskedSeldom has two checks of one national host, of which neither
// starves, and a third that is too much.
func TestNationalIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c countingKind
		r, sink := newTestRunner(t, RunnerOptions{}, c.kind())
		spec := func(name string, interval time.Duration) Spec {
			return Spec{Name: name, Kind: "tcp", Interval: interval, Target: Target{Address: "portal.nhs.uk:443"}}
		}
		r.Sync([]Spec{spec("a", 10*time.Minute), spec("b", 10*time.Minute)})
		pass(3 * time.Hour)
		n, gap := c.closest("portal.nhs.uk")
		if gap < nationalEvery || n < 35 {
			t.Errorf("asked %d times, once with only %v between", n, gap)
		}
		for _, name := range []string{"a", "b"} {
			if got := len(sink.of(name)); got < 17 || r.Status()[0].State != Up {
				t.Errorf("%s has run %d times in 3 h", name, got)
			}
		}
		r.Sync([]Spec{spec("a", 10*time.Minute), spec("b", 10*time.Minute), spec("c", time.Minute)})
		pass(3 * time.Hour)
		if _, gap = c.closest("portal.nhs.uk"); gap < nationalEvery {
			t.Errorf("%v between two", gap)
		}
		held := 0
		for _, res := range sink.of("c") {
			if res.Reason == NotRun && res.Verdict == Unknown && strings.Contains(res.Detail, "portal.nhs.uk is national, and was asked ") {
				held++
			}
		}
		if held < 60 {
			t.Errorf("%d of %d runs of c were held back", held, len(sink.of("c")))
		}
		if once := r.RunOnce(t.Context(), spec("x", time.Minute)); once.Reason != NotRun {
			t.Errorf("once more: %+v", once)
		}
	})
}

// TestAskingFurther has a check that asks others than its target.
func TestAskingFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got := map[string][]string{}
		kind := Kind{Name: "http", New: func(target Target) (Check, error) {
			return Func(func(ctx context.Context) Result {
				mu.Lock()
				defer mu.Unlock()
				for _, a := range target.Options["ask"].([]string) {
					got[a] = append(got[a], MayAsk(ctx, a))
				}
				return Result{Verdict: OK, Sent: 1, Received: 1}
			}), nil
		}, Schema: Schema{"ask": {Type: "strings"}}}
		r, _ := newTestRunner(t, RunnerOptions{}, kind)
		r.Behave(Manners{TargetBudget: 240, Off: []Off{{Target: "off.example.net", Reason: "moved"}}})
		s := Spec{Name: "a", Kind: "http", Interval: 15 * time.Second, Target: Target{Address: "http://a.example.net/", Options: map[string]any{
			"ask": []string{"https://portal.nhs.uk/x", "http://b.example.net:2575/", "https://off.example.net/", "https://much.example.net", "https://much.example.net/2"},
		}}}
		r.Sync([]Spec{s})
		pass(10 * time.Minute)
		mu.Lock()
		allowed := func(address string) (n int) {
			for _, why := range got[address] {
				if why == "" {
					n++
				}
			}
			return n
		}
		for address, most := range map[string]int{"https://portal.nhs.uk/x": 3, "http://b.example.net:2575/": 0, "https://off.example.net/": 0} {
			if n := allowed(address); n > most || most > 0 && n < 2 {
				t.Errorf("%s may be asked %d times in 10 minutes, want %d", address, n, most)
			}
		}
		if n := allowed("https://much.example.net") + allowed("https://much.example.net/2"); n < 40 || n > 61 {
			t.Errorf("%d questions in 10 minutes with a budget of 240 in an hour", n)
		}
		clear(got)
		mu.Unlock()
		r.RunOnce(t.Context(), s)
		if why := got["http://b.example.net:2575/"]; len(why) != 1 || why[0] == "" {
			t.Errorf("run once: %q", got)
		}
		if why := MayAsk(t.Context(), "https://portal.nhs.uk/x"); why != "" {
			t.Errorf("without a Runner: %s", why)
		}
	})
}

// TestRunOnceIsCharged: all questions of a run that a person asks for are of the
// budget.
func TestRunOnceIsCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := testKind("burst", Func(func(context.Context) Result { return Result{Verdict: OK, Sent: 20, Received: 20} }))
		r, _ := newTestRunner(t, RunnerOptions{}, kind)
		r.Behave(Manners{TargetBudget: 480}) // of which 40 at once
		s := Spec{Name: "a", Kind: "burst", Target: Target{Address: "a.example.net"}}
		for i, want := range []Verdict{OK, OK, Unknown} {
			if got := r.RunOnce(t.Context(), s); got.Verdict != want {
				t.Errorf("run %d: %s, %s; want %s", i, got.Verdict, got.Detail, want)
			}
		}
	})
}

// TestAPairCountsTwice: what is asked beside the tunnel is of the other host's budget.
func TestAPairCountsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c countingKind
		r, _ := newTestRunner(t, RunnerOptions{}, c.kind())
		r.Behave(Manners{TargetBudget: 360})
		r.Sync([]Spec{{Name: "a", Kind: "tcp", Interval: time.Second, Beside: "b.example.net:443", Target: Target{Address: "a.example.net:443", Network: "kestrel"}}})
		pass(time.Minute)
		r.Sync([]Spec{{Name: "b", Kind: "tcp", Interval: time.Second, Target: Target{Address: "b.example.net:443"}}})
		before, _ := c.closest("b.example.net")
		pass(10 * time.Second)
		if after, _ := c.closest("b.example.net"); before < 30 || after > before+2 {
			t.Errorf("asked %d times by the pair, and %d times more", before, after-before)
		}
	})
}

// TestRestartBringsNothingForward starts anew again and again.
func TestRestartBringsNothingForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c countingKind
		kind := c.kind()
		for range 60 {
			r, _ := newTestRunner(t, RunnerOptions{}, kind)
			r.Sync([]Spec{{Name: "a", Kind: "tcp", Interval: 5 * time.Minute, Target: Target{Address: "portal.nhs.uk:443"}}})
			pass(time.Minute)
			r.Close()
		}
		if n, gap := c.closest("portal.nhs.uk"); gap < nationalEvery || n < 11 {
			t.Errorf("asked %d times, once with only %v between", n, gap)
		}
	})
}

func TestOffSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c countingKind
		r, sink := newTestRunner(t, RunnerOptions{}, c.kind(), testKind("well", wellAfter(0)))
		specs := []Spec{
			{Name: "a", Kind: "tcp", Interval: time.Second, Target: Target{Address: "a.example.org:443"}},
			{Name: "b", Kind: "tcp", Interval: time.Second, Target: Target{Address: "b.example.net:443"}},
			{Name: "c", Kind: "well", Interval: time.Second, Target: Target{Address: "c.example.net"}},
			{Name: "d", Kind: "well", Interval: time.Second, Target: Target{Address: "d.example.net"}},
			{Name: "e", Kind: "tcp", Interval: time.Second, Own: true, Target: Target{Address: "e.example.org:443"}},
		}
		r.Sync(specs)
		pass(5 * time.Second)
		r.Behave(Manners{Off: []Off{
			{Target: "*.example.org", Reason: "asked by its owner"}, {Check: "c", Reason: "too loud"}, {Target: "b.example.net:443", Reason: "moved"},
		}})
		before, _ := c.closest("a.example.org")
		sink.takeEdges()
		pass(5 * time.Second)
		if after, _ := c.closest("a.example.org"); after != before {
			t.Errorf("asked %d times more", after-before)
		}
		for i, want := range []string{"switched off: asked by its owner", "switched off: moved", "switched off: too loud", "", ""} {
			st := r.Status()[i]
			if (st.State == UnknownState) != (want != "") || want != "" && (st.Last.Reason != NotRun || st.Last.Detail != want) {
				t.Errorf("%s: %s, %+v; want %q", st.Spec.Name, st.State, st.Last, want)
			}
		}
		if once := r.RunOnce(t.Context(), specs[0]); once.Reason != NotRun {
			t.Errorf("run once: %+v", once)
		}
		r.Behave(Manners{})
		pass(5 * time.Second)
		for _, st := range r.Status() {
			if st.State != Up {
				t.Errorf("on again, %s is %s", st.Spec.Name, st.State)
			}
		}
	})
}

func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c countingKind
		var paid atomic.Bool
		r, sink := newTestRunner(t, RunnerOptions{Metered: func(s Spec) bool { return paid.Load() && s.Target.Network != "" }}, c.kind())
		r.Behave(Manners{TargetBudget: 1800, MeteredBudget: 360})
		var specs []Spec
		for i := range 4 { // two hosts, each of two checks
			specs = append(specs, Spec{Name: fmt.Sprint("check", i), Kind: "tcp", Interval: time.Second,
				Target: Target{Address: fmt.Sprintf("host%d.example.net:%d", i/2, i), Network: "kestrel"}})
		}
		specs = append(specs, Spec{Name: "beside", Kind: "tcp", Interval: time.Second, Target: Target{Address: "host5.example.net:1"}})
		r.Sync(specs)
		pass(time.Hour)
		for _, host := range []string{"host0.example.net", "host1.example.net"} {
			if n, _ := c.closest(host); n < 1800 || n > 1800+1800/12+1 {
				t.Errorf("%s was asked %d times in an hour, with a budget of 1800", host, n)
			}
		}
		if last := sink.of("check0"); !slices.ContainsFunc(last, func(r Result) bool {
			return r.Reason == NotRun && r.Detail == "the budget is used up: 1800 questions to host0.example.net in an hour"
		}) {
			t.Error("nobody says that the budget is used up")
		}
		before, _ := c.closest("host0.example.net")
		more, _ := c.closest("host1.example.net")
		alone, _ := c.closest("host5.example.net")
		paid.Store(true)
		pass(time.Hour)
		after, _ := c.closest("host0.example.net")
		still, _ := c.closest("host1.example.net")
		if n := after + still - before - more; n < 330 || n > 360+30+1 {
			t.Errorf("%d questions over the metered line in an hour, with a budget of 360", n)
		}
		if n, _ := c.closest("host5.example.net"); n-alone < 1700 {
			t.Errorf("what does not go over it was asked %d times", n-alone)
		}
	})
}
