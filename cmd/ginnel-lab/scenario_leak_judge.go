package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/marks"
)

// tally is what became of the attempts in one state.
type tally struct {
	attempts, kept, astray, answered, dialled int
	due, passed, lost                         int // of what is listed
	internet, internetLost                    int
	took                                      time.Duration

	caught                  map[string]int // of what must not pass, by sort
	strays, answers, losses samples
}

// judge looks where every mark was seen. Those that should have come through are
// waited for.
func (l *leak) judge(alive func(probe) bool) *tally {
	for end := time.Now().Add(patient(10 * time.Second)); time.Now().Before(end) && !l.settled(alive); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(patient(100 * time.Millisecond)) // what must not come may be as slow
	t := &tally{caught: map[string]int{}, strays: samples{}, answers: samples{}, losses: samples{}}
	for _, s := range l.shots {
		t.judge(l.attempts[s.of], l.log.Seen(s.number), alive)
		if s.kept {
			t.kept++
		}
	}
	for _, d := range l.dials {
		t.judgeDial(l.attempts[d.of], d.made, alive)
	}
	return t
}

func (l *leak) settled(alive func(probe) bool) bool {
	for _, s := range slices.Backward(l.shots) {
		a := l.attempts[s.of]
		if due(a, alive) && !a.passed(l.log.Seen(s.number)) {
			return false
		}
	}
	return true
}

// due is true for what should come through.
func due(a probe, alive func(probe) bool) bool {
	return a.listed && (a.sort == internet || alive(a))
}

// passed is true where the other end has answered, or, as it need not answer
// UDP, has had it.
func (a probe) passed(seen map[string]marks.Kind) bool {
	if a.packet.Protocol == "udp" {
		return seen[a.arrives]&marks.Question != 0
	}
	return seen[a.origin]&marks.Answer != 0
}

func (a probe) permits(place string) bool {
	return slices.ContainsFunc(a.may, func(m string) bool {
		prefix, any := strings.CutSuffix(m, "*")
		return place == m || any && strings.HasPrefix(place, prefix)
	})
}

func (a probe) String() string {
	port := ""
	if a.packet.Port != 0 {
		port = fmt.Sprintf("/%d", a.packet.Port)
	}
	return fmt.Sprintf("%s%s %v > %v from %s", a.packet.Protocol, port, a.packet.Src, a.packet.Dst, a.from.Name)
}

func (t *tally) judge(a probe, seen map[string]marks.Kind, alive func(probe) bool) {
	t.attempts++
	var wrong []string
	for place, kind := range seen {
		refused := kind == marks.Refusal && (a.forged || slices.Contains(a.told, place)) // it goes to whoever the source is
		if !a.permits(place) && !refused {
			wrong = append(wrong, fmt.Sprint(place, " (", kind, ")"))
		}
	}
	slices.Sort(wrong)
	if len(wrong) > 0 {
		t.astray++
		t.strays.add(a, "seen at "+strings.Join(wrong, " "))
	}
	answered := false
	for _, kind := range seen {
		answered = answered || kind&marks.Answer != 0
	}
	if !a.listed {
		if answered {
			t.answered++
			t.answers.add(a, "answered")
		}
		if answered || len(wrong) > 0 {
			t.caught[a.sort]++
		}
		return
	}
	t.account(a, a.passed(seen), alive, "lost")
}

func (t *tally) judgeDial(a probe, made bool, alive func(probe) bool) {
	if a.listed {
		t.account(a, made, alive, "not connected")
		return
	}
	t.dialled++
	if made {
		t.answered++
		t.answers.add(a, "connected")
	}
}

// account counts what is listed; lost says what it is if it did not pass.
func (t *tally) account(a probe, passed bool, alive func(probe) bool, lost string) {
	if passed {
		t.passed++
	}
	if !due(a, alive) {
		return
	}
	switch {
	case a.sort == internet && passed:
		t.internet++
	case a.sort == internet:
		t.internet++
		t.internetLost++
		t.losses.add(a, lost)
	case passed:
		t.due++
	default:
		t.due++
		t.lost++
		t.losses.add(a, lost)
	}
}

// samples are what should not have been, by sort, with one of each.
type samples map[string]sample

type sample struct {
	count int
	one   string
}

func (s samples) add(a probe, what string) {
	x := s[a.sort]
	if x.count++; x.count == 1 {
		x.one = a.String() + ", " + what
	}
	s[a.sort] = x
}

// String has a line for each sort.
func (s samples) String() string {
	var b strings.Builder
	for _, sort := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "\n%d %s, as %s", s[sort].count, sort, s[sort].one)
	}
	return b.String()
}
