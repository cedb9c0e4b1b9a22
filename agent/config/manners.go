package config

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

var (
	mannersKeys = []string{"national", "not_national", "national_interval", "target_budget", "metered", "metered_budget", "mllp"}
	offKeys     = []string{"check", "kind", "target", "reason"}
)

const (
	nationalMin, nationalMax = 5 * time.Minute, 24 * time.Hour
	budgetMin, budgetMax     = 12, 1_000_000_000 // questions an hour
)

// manners reads [manners] and [[off]].
func (t table) manners() checks.Manners {
	var m checks.Manners
	if v := t.v.of["manners"]; v != nil && v.kind != tableKind {
		t.r.wrongType(v, "manners", "a table", "[manners]")
	} else if v != nil {
		s := table{r: t.r, v: v, path: "manners"}
		s.only(mannersKeys...)
		m = checks.Manners{
			National:      s.patterns("national"),
			NotNational:   s.patterns("not_national"),
			NationalEvery: s.duration("national_interval", nationalMin, nationalMax),
			TargetBudget:  int(s.integer("target_budget", budgetMin, budgetMax)),
			Metered:       s.links("metered"),
			MeteredBudget: int(s.integer("metered_budget", budgetMin, budgetMax)),
			MLLP:          s.listeners("mllp"),
		}
	}
	for _, o := range t.tables("off") {
		m.Off = append(m.Off, o.off())
	}
	return m
}

// patterns reads a list of patterns of hosts.
func (t table) patterns(key string) []string {
	var list []string
	for _, e := range t.strings(key, "") {
		if err := checks.ValidPattern(e.text); err != nil {
			t.r.problem(e.at, e.path, `as in "*.example.net"`, "%v", err)
			continue
		}
		list = append(list, e.text)
	}
	return list
}

// listeners reads a list of host:port.
func (t table) listeners(key string) []string {
	var list []string
	for _, e := range t.strings(key, "") {
		if host, port, err := net.SplitHostPort(e.text); err != nil || host == "" || port == "" {
			t.r.problem(e.at, e.path, `as in "198.51.100.30:2575"`, "%s is not host:port", show(e.text))
			continue
		}
		list = append(list, e.text)
	}
	return list
}

// off reads one [[off]].
func (t table) off() checks.Off {
	t.only(offKeys...)
	o := checks.Off{Check: t.line("check", nameMax), Kind: t.line("kind", nameMax), Target: t.line("target", targetMax), Reason: t.line("reason", wordsMax)}
	switch given := len(strings.Join([]string{o.Check, o.Kind, o.Target}, "")); {
	case given == 0:
		t.problem("", "check, kind or target", "does not say what is off")
	case given != len(o.Check) && given != len(o.Kind) && given != len(o.Target):
		t.problem("", "one [[off]] for each", "has more than one of check, kind and target")
	}
	if strings.Contains(o.Target, "*") && checks.ValidPattern(o.Target) != nil {
		t.problem("target", `as in "*.example.net", or a target as it is written`, "%s is no pattern", show(o.Target))
	}
	if o.Reason == "" {
		t.missing("reason", "for those who will wonder why nothing is measured")
	}
	return o
}

// mannered names the checks that would be ill-mannered. What can only be known
// as they run, is held back then.
func (a across) mannered() {
	m := a.c.Manners
	first := map[string]string{} // national host -> the check that asks it
	for i, s := range a.c.CheckSpecs() {
		t := a.r.checks[i]
		if !t.mannered(m, s) || m.IsNational(s.Target.Address) == "" {
			continue
		}
		host := checks.HostOf(s.Target.Address)
		if before, twice := first[host]; twice && s.Interval < 2*m.Every() {
			t.problem("interval", fmt.Sprintf("interval = %q for each", tell(2*m.Every())), "%s asks %s as well", before, host)
		}
		first[host] = s.Name
	}
}

// mannered says what is ill-mannered of one check alone, and reports whether
// nothing is.
func (t table) mannered(m checks.Manners, s checks.Spec) bool {
	pattern, every := m.IsNational(s.Target.Address), m.Every()
	before := len(t.r.problems)
	switch why := m.Forbids(s); {
	case why != "" && s.Beside != "" && pattern+m.IsNational(s.Beside) != "":
		t.problem("beside", "leave it out", "%s", why)
	case why != "":
		t.problem("target", `kind = "tcp"`, "%s", why)
	case pattern == "":
		return true
	case s.Interval < every:
		t.problem("interval", fmt.Sprintf("interval = %q, or not_national in [manners]", tell(every)),
			"%s is too often for a national service (%s)", tell(s.Interval), pattern)
	}
	if pattern != "" && s.Required {
		t.problem("required", "leave it out", "no trial waits for what is asked once in %s", tell(every))
	}
	return len(t.r.problems) == before
}

// manners writes them as they were given.
func (w *writer) manners(m checks.Manners) {
	if len(m.National)+len(m.NotNational)+len(m.Metered)+len(m.MLLP)+m.TargetBudget+m.MeteredBudget+int(m.NationalEvery) > 0 {
		w.WriteString("\n[manners]\n")
	}
	some(w, "national", m.National)
	some(w, "not_national", m.NotNational)
	if m.NationalEvery != 0 {
		w.put("national_interval", tell(m.NationalEvery))
	}
	if m.TargetBudget != 0 {
		w.put("target_budget", m.TargetBudget)
	}
	some(w, "metered", m.Metered)
	if m.MeteredBudget != 0 {
		w.put("metered_budget", m.MeteredBudget)
	}
	some(w, "mllp", m.MLLP)
	for _, o := range m.Off {
		w.head("off")
		for _, f := range [][2]string{{"check", o.Check}, {"kind", o.Kind}, {"target", o.Target}, {"reason", o.Reason}} {
			if f[1] != "" {
				w.put(f[0], f[1])
			}
		}
	}
}
