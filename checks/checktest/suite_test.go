package checktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// run is one run of a check of the model kind, and what it is about to say.
type run struct {
	ctx     context.Context
	address string // "good", "refusing" or "silent"
	number  int    // of the check's runs, from 1
	r       checks.Result
	leave   <-chan struct{} // closed when the test is over
}

// model is a kind that is as it should be, until spoil changes what a run says.
func model(leave <-chan struct{}, spoil func(*run)) Subject {
	k := checks.Kind{Name: "model", Doc: "answers as its target is called", New: func(t checks.Target) (checks.Check, error) {
		if !slices.Contains([]string{"good", "refusing", "silent"}, t.Address) {
			return nil, errors.New("no such target")
		}
		number := 0
		return checks.Func(func(ctx context.Context) checks.Result {
			number++
			x := run{ctx, t.Address, number, answer(ctx, t.Address), leave}
			spoil(&x)
			return x.r
		}), nil
	}}
	return Subject{Kind: k, Timed: true, Good: checks.Target{Address: "good"},
		Refusing: &checks.Target{Address: "refusing"}, Silent: &checks.Target{Address: "silent"}}
}

func answer(ctx context.Context, address string) checks.Result {
	r := checks.Result{Start: time.Now(), Sent: 1}
	if address == "silent" {
		<-ctx.Done()
	} else {
		time.Sleep(10 * time.Millisecond)
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		r.Verdict, r.Reason, r.Detail, r.Sent = checks.Unknown, checks.NotRun, "broken off", 0
	case ctx.Err() != nil:
		r.Verdict, r.Reason, r.Phase, r.Detail = checks.Failed, checks.Timeout, checks.PhaseResponse, "no answer in time"
	case address == "refusing":
		r.Verdict, r.Reason, r.Phase, r.Detail = checks.Failed, checks.Refused, checks.PhaseConnect, "it says no"
	default:
		r.Verdict, r.Received, r.RTT, r.Stamps = checks.OK, 1, []time.Duration{10 * time.Millisecond}, checks.UserStamps
	}
	return r
}

// faults plays the suite, and tells each part with what is wrong.
func faults(t *testing.T, s Subject) (all []string, of map[string][]string) {
	of = map[string][]string{}
	Hold(t.Context(), s, func(part string, faults []string) {
		all = append(all, part)
		if len(faults) > 0 {
			of[part] = faults
		}
	})
	return all, of
}

func TestNothingIsWrongWithTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, of := faults(t, model(nil, func(*run) {}))
		want := "describes itself, refuses unknown options, absurd targets, good target, reusable, two at once, ended context, " +
			"refusing target, silent target obeys the deadline, silent target obeys cancel, leaves nothing open"
		if got := strings.Join(all, ", "); got != want || len(of) > 0 {
			t.Errorf("parts %s; faults %q", got, of)
		}
	})
}

// TestEachFaultIsFound spoils one thing at a time.
func TestEachFaultIsFound(t *testing.T) {
	at := func(address string, f func(*run)) func(*run) {
		return func(x *run) {
			if x.address == address {
				f(x)
			}
		}
	}
	failed := checks.Result{Verdict: checks.Failed, Reason: checks.Timeout, Detail: "no answer", Sent: 1}
	good := func(f func(r *checks.Result)) func(*run) { return at("good", func(x *run) { f(&x.r) }) }
	var others atomic.Int32
	for _, test := range []struct {
		part, want string
		spoil      func(*run)
	}{
		{"good target", "not timed: ok, 1 sent, 1 received, stamps user", good(func(r *checks.Result) { r.RTT = nil })},
		{"good target", "got failed, reason timeout, detail \"no answer\", 1 sent, 0 received", good(func(r *checks.Result) { failed.Start = r.Start; *r = failed })},
		{"reusable", "run 2: failed, reason timeout", at("good", func(x *run) {
			if x.number > 1 {
				failed.Start = x.r.Start
				x.r = failed
			}
		})},
		{"reusable", "after a run that was cut short: failed, reason timeout", at("good", func(x *run) {
			if x.number > 4 {
				failed.Start = x.r.Start
				x.r = failed
			}
		})},
		{"two at once", "got failed, reason timeout", at("good", func(x *run) {
			defer others.Add(-1)
			if others.Add(1); others.Load() > 1 || !sleptAlone(&others) {
				x.r = checks.Result{Verdict: checks.Failed, Reason: checks.Timeout, Detail: "another took it", Sent: 1, Start: x.r.Start}
			}
		})},
		{"ended context", "cancelled before it began: ok, 1 sent, 1 received, RTT [10ms], stamps user; want unknown, for it did not look", at("good", func(x *run) {
			x.r = answer(context.Background(), "good")
		})},
		{"refusing target", "got failed, reason timeout, phase connect, detail \"it says no\", 1 sent, 0 received; want reason refused and a detail", at("refusing", func(x *run) { x.r.Reason = checks.Timeout })},
		{"refusing target", "want reason refused and a detail", at("refusing", func(x *run) { x.r.Detail = "" })},
		{"refusing target", "a refusal was timed: failed", at("refusing", func(x *run) { x.r.Received, x.r.RTT = 1, []time.Duration{time.Second} })},
		{"silent target obeys the deadline", "; want failed, timeout", at("silent", func(x *run) { x.r.Reason = checks.NotRun })},
		{"silent target obeys the deadline", "answers of a target that never answers: failed", at("silent", func(x *run) { x.r.Sent, x.r.Received = 1, 1 })},
		{"silent target obeys the deadline", "the run did not end", at("silent", func(x *run) { <-x.leave })},
		{"silent target obeys cancel", "got ok", at("silent", func(x *run) { x.r = answer(context.Background(), "good") })},
		{"leaves nothing open", " goroutines before, ", at("good", func(x *run) { go func() { <-x.leave }() })},
		{"leaves nothing open", " open files before, ", at("good", func(x *run) {
			if f, err := os.Open("/dev/null"); err == nil {
				go func() {
					<-x.leave
					f.Close()
				}()
			}
		})},
		{"good target", "1 received of 0 sent: ok", good(func(r *checks.Result) { r.Sent = 0 })},
		{"good target", `reason "bored" is not of the list`, good(func(r *checks.Result) { r.Verdict, r.Reason = checks.Failed, "bored" })},
		{"refusing target", `phase "later" is not of the list`, at("refusing", func(x *run) { x.r.Phase = "later" })},
		{"good target", "a good result with a phase of failure", good(func(r *checks.Result) { r.Phase = checks.PhaseConnect })},
		{"good target", "the detail is not one line", good(func(r *checks.Result) { r.Detail = "one\ntwo" })},
		{"good target", "the start is not when it began: ok, 1 sent, 1 received, RTT [10ms], stamps user, no start", good(func(r *checks.Result) { r.Start = time.Time{} })},
		{"good target", "panic: no", good(func(*checks.Result) { panic("no") })},
	} {
		t.Run(fmt.Sprintf("%s, %.30s", test.part, test.want), func(t *testing.T) { found(t, test.spoil, nil, test.part, test.want) })
	}
}

// sleptAlone says whether nobody else came within a moment.
func sleptAlone(others *atomic.Int32) bool {
	time.Sleep(time.Millisecond)
	return others.Load() == 1
}

// TestFaultsOfAKind are those that no run has.
func TestFaultsOfAKind(t *testing.T) {
	for _, test := range []struct {
		part, want string
		spoil      func(*Subject)
	}{
		{"describes itself", `name "model", doc "": want a name and one line`, func(s *Subject) { s.Kind.Doc = "" }},
		{"describes itself", `option size: doc "two\nlines": want one line`, func(s *Subject) { s.Kind.Schema = checks.Schema{"size": {Type: "int", Doc: "two\nlines"}} }},
		{"describes itself", "none of string, int", func(s *Subject) { s.Kind.Schema = checks.Schema{"size": {Type: "whole", Doc: "bytes"}} }},
		{"refuses unknown options", "got <nil>, want an OptionError", func(s *Subject) { s.Kind.Late = true }},
		{"absurd targets", `"": refused without a word`, func(s *Subject) {
			s.Kind.New = func(checks.Target) (checks.Check, error) { return nil, errors.New("") }
		}},
		{"absurd targets", "panic: absurd", func(s *Subject) {
			s.Kind.New = func(checks.Target) (checks.Check, error) {
				return checks.Func(func(context.Context) checks.Result { panic("absurd") }), nil
			}
		}},
		{"good target", "timed, yet the subject says that it is not: ok", func(s *Subject) { s.Timed = false }},
		{"good target", `making a check for "nowhere": no such target`, func(s *Subject) { s.Good.Address = "nowhere" }},
	} {
		t.Run(fmt.Sprintf("%s, %.30s", test.part, test.want), func(t *testing.T) { found(t, func(*run) {}, test.spoil, test.part, test.want) })
	}
}

// found plays the suite on a model that is spoilt, by a clock that waits for nobody.
func found(t *testing.T, spoil func(*run), change func(*Subject), part, want string) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		defer close(leave)
		s := model(leave, spoil)
		if change != nil {
			change(&s)
		}
		if _, of := faults(t, s); !slices.ContainsFunc(of[part], func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("faults %q; want %s: %s", of, part, want)
		}
	})
}
