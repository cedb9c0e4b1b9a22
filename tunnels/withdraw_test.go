package tunnels_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		pass(time.Minute)
		full := r.host.State()
		if err := r.Withdraw(t.Context(), tunnels.Refusals); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute) // Run does not bring it back
		s := r.host.State()
		if len(s.Devices) != 0 || len(s.Rules) != len(full.Rules) || len(s.Filters) != 2 || len(s.Routes) != 2 {
			t.Errorf("down, and there is\n%s", dump(s))
		}
		for _, route := range s.Routes {
			if !route.Unreachable {
				t.Errorf("down, and %v leads somewhere", route)
			}
		}
		r.Set(site())
		pass(time.Second)
		wantOn(t, r, site())
		if err := r.Withdraw(t.Context(), tunnels.Nothing); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if s := r.host.State(); dump(s) != "" {
			t.Errorf("withdrawn, and there is\n%s", dump(s))
		}
	})
}

// `ginnel down` and `cleanup` without an agent, or without a config.
func TestWithdrawWithoutSpec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		pass(time.Minute)
		r.stop()
		r.host.Change(func(s *tunnels.State) { s.Filters[0].Digest = "" }) // somebody changed a rule of it
		m := &tunnels.Manager{Host: r.host}
		r.host.Take()
		if err := m.Withdraw(t.Context(), tunnels.Refusals); err != nil {
			t.Fatal(err)
		}
		if s := r.host.State(); len(s.Devices) != 0 || len(s.Filters) != 2 || len(s.Routes) != 2 || len(s.Rules) == 0 {
			t.Errorf("down, and there is\n%s", dump(s))
		}
		if text := lines(r.host.Take()); strings.Contains(text, "~") {
			t.Errorf("down changed something:\n%s", text)
		}
		if err := m.Withdraw(t.Context(), tunnels.Refusals); err != nil || len(r.host.Take()) != 0 {
			t.Errorf("down twice: %v", err)
		}
		r.host.Fail = func(int, tunnels.Step) error { return errors.New("refused on purpose") }
		if err := m.Withdraw(t.Context(), tunnels.Nothing); err == nil || !strings.Contains(err.Error(), "refused on purpose") {
			t.Errorf("cleanup that fails says %v", err)
		}
		r.host.Fail = nil
		if err := m.Withdraw(t.Context(), tunnels.Nothing); err != nil {
			t.Fatal(err)
		}
		if s := r.host.State(); dump(s) != "" {
			t.Errorf("withdrawn, and there is\n%s", dump(s))
		}
	})
}

func TestGuardOnlyAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &tunnelstest.Host{}
		m := &tunnels.Manager{Host: h}
		m.Set(site())
		if err := m.Guard(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := dump(h.State()), dump(tunnels.Guard(site(), facts())); sorted(got) != sorted(want) {
			t.Errorf("guard put up\n%s\nwant\n%s", got, want)
		}
		r := start(t, h, site())
		pass(time.Minute)
		r.stop()
		h.Take()
		h.Change(func(s *tunnels.State) { s.Rules = s.Rules[1:] })
		if err := m.Guard(t.Context()); err != nil {
			t.Fatal(err)
		}
		if steps := h.Take(); len(steps) != 1 || steps[0].Kind != tunnels.RuleKind {
			t.Errorf("beside running tunnels the guard wrote\n%s", lines(steps))
		}
	})
}

func sorted(text string) string {
	l := strings.Split(text, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}

func TestPlanWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &tunnelstest.Host{}
		h.SetFacts(facts())
		dns := newAnswers()
		m := &tunnels.Manager{Host: h, Resolver: dns}
		m.Set(site())
		steps, err := m.Plan(t.Context())
		if err != nil || len(steps) == 0 || len(h.Take()) != 0 {
			t.Fatalf("%d steps, error %v", len(steps), err)
		}
		if text := lines(steps); !strings.Contains(text, "on gn-kestrel-n endpoint 192.0.2.10:51820") {
			t.Errorf("names were not asked for:\n%s", text)
		}
		dns.hang("hub-south.example.net")
		begin := time.Now()
		m = &tunnels.Manager{Host: h, Resolver: dns}
		m.Set(site())
		if _, err := m.Plan(t.Context()); err != nil || time.Since(begin) > 3*time.Second {
			t.Errorf("a dead name: after %v, %v", time.Since(begin), err)
		}
	})
}
