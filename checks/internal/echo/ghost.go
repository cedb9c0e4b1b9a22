package echo

import (
	"time"

	"github.com/ginnel/ginnel/checks"
)

// ghost is what is kept of a train that has been told, for answers that come all
// the same. There are thousands, and a train is ten times as large.
type ghost struct {
	pattern
	after     *After
	questions []remnant
}

// remnant is one question of a ghost.
type remnant struct {
	seq  uint16
	fate checks.Fate
}

// ending is when a train became a ghost.
type ending struct {
	id uint64
	at time.Time
}

// haunt makes a ghost of a train that has been told, where somebody counts what
// comes for it.
func (e *Engine) haunt(t *train, now time.Time) {
	delete(e.trains, t.id)
	if t.After == nil || len(t.packets) == 0 {
		return
	}
	g := ghost{pattern: t.pattern(), after: t.After, questions: make([]remnant, len(t.packets))}
	for i, p := range t.packets {
		g.questions[i] = remnant{p.seq, p.fate}
	}
	e.ghosts[t.id] = g
	e.past = append(e.past, ending{t.id, now})
}

// answer counts an answer to question i.
func (g ghost) answer(s *socket, i int, seq uint16, payload []byte, cut bool) {
	if i >= len(g.questions) {
		return
	}
	q := &g.questions[i]
	q.fate = g.after.add(q.fate, (s.udp || seq == q.seq) && g.intact(payload, cut))
}

// add counts an answer to a question of a train that has ended, and says what
// has become of that now.
func (a *After) add(fate checks.Fate, intact bool) checks.Fate {
	switch {
	case a == nil:
	case fate == checks.Answered || fate == checks.Late:
		a.duplicate++
	case fate == checks.Lost && intact:
		a.late++
		return checks.Late
	}
	return fate
}

// forget lets go of the oldest ghosts, and of those that are too old.
func (e *Engine) forget(now time.Time) {
	old := 0
	for old < len(e.past) && (len(e.past)-old > mostEnded || now.Sub(e.past[old].at) > linger) {
		delete(e.ghosts, e.past[old].id)
		old++
	}
	e.past = append(e.past[:0], e.past[old:]...)
}

// pattern is what the answers to a train look like.
type pattern struct {
	size    int    // of a payload, bytes
	answer  []byte // after its head
	session uint16 // of test packets; 0: they are not
}

func (t *Train) pattern() pattern {
	p := pattern{size: t.Size, answer: t.Answer, session: t.Session}
	if p.answer == nil {
		p.answer = t.Ask
	}
	return p
}
