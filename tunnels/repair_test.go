package tunnels_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// fought is a host on which somebody takes a rule away each time that it is
// there, and who that is can be guessed.
type fought struct {
	*tunnelstest.Host
	asked int
}

func (f *fought) Culprit(s tunnels.Step) string {
	f.asked++
	if s.Kind == tunnels.RuleKind && f.asked > 1 {
		return "ip (pid 312)"
	}
	return ""
}

// isFought is the rule that they fight over.
func isFought(r tunnels.Rule) bool { return r.Table == 7102 && r.From.String() == "192.168.10.0/24" }

func TestFightOverARule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fought{Host: &tunnelstest.Host{}}
		h.SetFacts(facts())
		r := &running{host: h.Host, dns: newAnswers(), log: &logBook{}}
		r.Manager = &tunnels.Manager{Host: h, Resolver: r.dns, Log: r.log.logger()}
		r.Set(site())
		r.run(t)
		defer r.stop()
		pass(time.Minute)
		r.host.Take()
		var peace atomic.Bool
		defer peace.Store(true)
		go func() { // all the while, with an event each time
			for ; !peace.Load(); time.Sleep(30 * time.Millisecond) {
				r.host.Change(func(s *tunnels.State) { s.Rules = slices.DeleteFunc(s.Rules, isFought) })
				r.Wake()
			}
		}()
		pass(30 * time.Second)
		c := r.Status()[2].Contested
		if len(c) != 1 || c[0].Kind != tunnels.RuleKind || c[0].Culprit != "ip (pid 312)" || !strings.Contains(c[0].Text, "lookup 7102") {
			t.Fatalf("contested: %+v", c)
		}
		if s := r.Status(); len(s[0].Contested) != 0 || s[2].Err != "" {
			t.Errorf("%+v", s)
		}
		pass(5 * time.Minute)
		r.host.Take()
		looks := r.host.Looks()
		pass(5 * time.Minute)
		if n := len(r.host.Take()); n < 9 || n > 11 {
			t.Errorf("put back %d times in 5 minutes, want one each half minute", n)
		}
		if n := r.host.Looks() - looks; n > 5*60+20 {
			t.Errorf("looked %d times in 5 minutes", n)
		}
		for range 10 { // of others, meanwhile
			r.host.Change(func(s *tunnels.State) {
				s.Routes = slices.DeleteFunc(s.Routes, func(x tunnels.Route) bool { return x.Unreachable })
			})
			pass(2 * time.Second)
			if n := len(slices.DeleteFunc(r.host.State().Routes, func(x tunnels.Route) bool { return !x.Unreachable })); n != 2 {
				t.Errorf("%d of 2 routes are back after 2 s", n)
			}
			pass(10 * time.Second)
		}
		peace.Store(true)
		pass(3 * time.Minute)
		wantOn(t, r, site())
		if c := r.Status()[2].Contested; len(c) != 0 {
			t.Errorf("three minutes after the end: %+v", c)
		}
		for text, n := range map[string]int{"somebody else keeps changing this": 1, "known who is likely": 1, "nobody changes it any more": 1} {
			if got := r.log.count(text); got != n {
				t.Errorf("%q is logged %d times, want %d:\n%s", text, got, n, r.log)
			}
		}
	})
}

// What is put back is told from what a new config asks for, and from what follows
// from the world: an answer of DNS, a port, a hub that is dead, a link that comes.
func TestRepairsAreToldApart(t *testing.T) {
	const repaired, changed = `msg="changed by somebody else, put back"`, `msg="host changed"`
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		pass(time.Minute)
		expect := func(what string, repairs int, changes bool, do func()) {
			t.Helper()
			a, b := r.log.count(repaired), r.log.count(changed)
			do()
			r.Wake()
			pass(time.Minute)
			a, b = r.log.count(repaired)-a, r.log.count(changed)-b
			if a != repairs || (b > 0) != changes {
				t.Errorf("%s: %d repairs and %d changes, want %d, and changes: %v\n%s", what, a, b, repairs, changes, r.log)
			}
		}
		expect("the start", 0, false, func() {})
		if r.log.count(repaired) != 0 {
			t.Errorf("what a start writes is taken for repairs:\n%s", r.log)
		}
		expect("a rule taken away", 1, false, func() { r.host.Change(func(s *tunnels.State) { s.Rules = s.Rules[1:] }) })
		expect("a rule more", 1, false, func() {
			r.host.Change(func(s *tunnels.State) { s.Rules = append(s.Rules, tunnels.Rule{Family: 4, Priority: 1, Table: 7102}) })
		})
		spec := site()
		spec.Networks[1].Devices[0].MTU = 1380
		expect("another config", 0, true, func() { r.Set(spec) })
		expect("a dead hub", 0, true, func() { r.Dead("gn-heron-s", true) })
		expect("a hub that lives", 0, true, func() { r.Dead("gn-heron-s", false) })
		expect("another answer", 0, true, func() {
			r.dns.set(nil, "hub-north.example.net", "192.0.2.12")
			time.Sleep(6 * time.Minute)
		})
		expect("a link that is gone", 0, true, func() {
			f := facts()
			f.Links[3].Addresses, f.Links[3].Forwarding = makePrefixes("192.168.10.2/24"), false
			f.Links[2].Forwarding = true
			r.host.SetFacts(f)
			time.Sleep(time.Minute)
			r.host.SetFacts(facts())
			time.Sleep(time.Minute)
		})
	})
}

// A step that fails halfway is nobody else's doing.
func TestHalfAStepIsNoRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		h := &tunnelstest.Host{Fail: func(_ int, s tunnels.Step) error {
			if s.Kind == tunnels.RouteKind && !s.Route.Unreachable && fail.Swap(false) {
				return errors.New("no buffer space")
			}
			return nil
		}}
		r := start(t, h, hub())
		defer r.stop()
		pass(10 * time.Second)
		spec := hub()
		peers := &spec.Networks[0].Devices[0].Peers
		*peers = append(*peers, tunnels.PeerSpec{Name: "fulmar-1", PublicKey: worldKeys[4].Public(), AllowedIPs: makePrefixes("192.168.30.0/24")})
		fail.Store(true)
		r.Set(spec)
		pass(10 * time.Second)
		wantOn(t, r, spec)
		if fail.Load() || r.log.count("changed by somebody else") != 0 {
			t.Errorf("failed: %v\n%s", !fail.Load(), r.log)
		}
	})
}
