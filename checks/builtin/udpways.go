package builtin

import (
	"fmt"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/internal/echo"
	"github.com/ginnel/ginnel/checks/stamp"
)

// ways tells the losses of the two directions apart, from the numbers that a
// reflector gives its answers (RFC 8762 4.3, stateful mode). Whether the questions
// after the last answer were lost there or back is known when the next one comes,
// be it in another run.
type ways struct {
	last int64 // the highest number that was heard, plus one; 0: none
	open int   // questions since then
}

// waysLost is what was lost between the last answer before a run and the last in
// it.
type waysLost struct {
	known       bool // the reflector numbers, and has an answer in this run
	there, back int
	open        int // after the last answer
}

func (l waysLost) String() string {
	s := fmt.Sprintf("%d lost on the way there, %d on the way back", l.there, l.back)
	if l.open > 0 {
		s += fmt.Sprintf(", %d not known", l.open)
	}
	return s
}

// account goes through the questions of a run.
func (w *ways) account(o echo.Outcome, session uint16) (l waysLost) {
	asked, heard, highest := w.open, 0, int64(-1)
	total := 0 // of asked, those up to the last that was answered
	for _, p := range o.Packets {
		if p.Fate == checks.Unsent {
			continue
		}
		asked++
		if p.Fate == checks.Late {
			heard++
		}
		if p.Answer == nil {
			continue
		}
		if !numbered(p.Answer, session) {
			*w = ways{}
			return waysLost{}
		}
		heard++
		total, highest = asked, max(highest, int64(p.Answer.Seq))
	}
	before := w.last
	if highest < 0 {
		w.open = asked
		return waysLost{}
	}
	w.last, w.open = highest+1, asked-total
	if highest < before { // the reflector has begun anew
		return waysLost{}
	}
	missing := max(total-heard, 0)
	back := min(max(int(highest+1-before)-heard, 0), missing) // answers that left, less those that came
	return waysLost{known: true, there: missing - back, back: back, open: w.open}
}

// numbered says whether an answer is of a reflector that numbers by itself and
// knows sessions. One that does not copies the question's number, and ours begin
// anywhere.
func numbered(a *stamp.Answer, session uint16) bool {
	return a.Session == session && a.Seq != a.Question.Seq
}
