package tunnels

import (
	"slices"
	"strings"
)

// tally is what one table has refused, whoever replaced it meanwhile: a new one
// counts from nothing.
type tally struct {
	rules map[string]*counted
	look  int // the last one that had begun when we wrote the table
}

type counted struct {
	total, last Refusal
}

// tally is that of a table. One that a former process made has no past.
func (m *Manager) tally(table string) (t *tally, known bool) {
	t, known = m.refused[table]
	if !known {
		t = &tally{rules: map[string]*counted{}}
		m.refused[table] = t
	}
	return t, known
}

// wroteFilter notes that a table counts from nothing. The caller holds m.mu.
func (m *Manager) wroteFilter(table string) {
	t, _ := m.tally(table)
	t.look = m.looks
	t.restart()
}

func (t *tally) restart() {
	for _, c := range t.rules {
		c.last = Refusal{}
	}
}

// countRefused adds what was refused since the look before. What a table that
// was replaced during this look had refused belongs to the former one, and is
// left out. The caller holds m.mu.
func (m *Manager) countRefused(have State) {
	there := map[string]bool{}
	for _, f := range have.Filters {
		there[f.Table] = true
		t, known := m.tally(f.Table)
		if t.look == m.looks {
			continue
		}
		now := map[string]Refusal{}
		for _, r := range f.Refused {
			sum := now[r.Rule]
			now[r.Rule] = Refusal{r.Rule, sum.Packets + r.Packets, sum.Bytes + r.Bytes}
		}
		for rule, n := range now {
			t.add(rule, n, known)
		}
	}
	for table, t := range m.refused {
		if !there[table] {
			t.restart()
		}
	}
}

// add counts what came since the last time; at the first sight of a table that
// was there before us nothing did.
func (t *tally) add(rule string, now Refusal, known bool) {
	c := t.rules[rule]
	if c == nil {
		c = &counted{total: Refusal{Rule: rule}}
		t.rules[rule] = c
		if !known {
			c.last = now
		}
	}
	if now.Packets < c.last.Packets { // somebody replaced it
		c.last = Refusal{}
	}
	c.total.Packets += now.Packets - c.last.Packets
	c.total.Bytes += now.Bytes - min(c.last.Bytes, now.Bytes)
	c.last = now
}

// refusedBy is what a network has refused since the start, by rule.
func (m *Manager) refusedBy(network string) (list []Refusal) {
	t := m.refused[FilterTable(network)]
	if t == nil {
		return nil
	}
	for _, c := range t.rules {
		if c.total.Packets > 0 {
			list = append(list, c.total)
		}
	}
	slices.SortFunc(list, func(a, b Refusal) int { return strings.Compare(a.Rule, b.Rule) })
	return list
}
