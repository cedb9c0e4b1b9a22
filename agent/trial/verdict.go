package trial

import (
	"fmt"
	"strings"
)

// Act is what is to be done with a trial.
type Act byte

const (
	Wait    Act = iota // the time is not up, and it is not proved yet
	Confirm            // it is proved: it stays
	Hold               // neither can be told: it stays, and the old one is kept
	Back               // it is at fault: the old one again
)

func (a Act) String() string {
	return [...]string{"wait", "confirm", "hold", "go back"}[a]
}

// Decision is an act with its reason, in one line, and what it rests on, a line
// each. A Wait has neither.
type Decision struct {
	Act
	Reason   string
	Evidence []string
}

// Verdict decides, by design.md 8:
//
//	receipt    touched, good before    look-ups  beside  before the end  at the end  while held
//	yes        all good                any       no      confirm         confirm     confirm
//	yes        one not told            any       no      wait            hold        hold
//	yes        one dead                any       no      wait            go back     go back
//	no         one dead                any       any     wait            go back     hold
//	no         all good, or not told   differ    any     wait            go back     hold
//	no         all good, or not told   same      yes     wait            go back     hold
//	no         all good, or not told   same      no      wait            hold        hold
//
// Without a collector it is as with a receipt. What is not touched is told, not
// judged; what was not good before, or is not wanted any more, is not looked at.
// What was proved before the trial was held is as good: a hub that dies on the
// third day of a hold is no fault of the change.
func Verdict(e Evidence) Decision {
	dead, unsure := e.sort()
	heard := e.Reach == nil || e.Reach.Receipt
	switch {
	case heard && len(dead)+len(unsure) == 0:
		return e.decide(Confirm, "")
	case !e.Over && !e.Held:
		return Decision{}
	case e.Held && !heard:
		return e.decide(Hold, "the collector cannot be reached")
	case len(dead) > 0:
		return e.decide(Back, died(dead))
	case !heard && len(e.Reach.Moved) > 0:
		return e.decide(Back, "the collector cannot be reached, and the way to it has changed")
	case !heard && e.Reach.Beside:
		return e.decide(Back, "the collector answers beside our tables only")
	case !heard && e.Reach.Answers:
		return e.decide(Hold, "the collector answers, but has signed no receipt")
	case !heard:
		return e.decide(Hold, "the collector cannot be reached, and the ways to it are as before")
	}
	return e.decide(Hold, fmt.Sprintf("it cannot be told how %s is", names(unsure)))
}

// sort finds what the change may have killed, and what nobody can tell yet.
func (e Evidence) sort() (dead, unsure []Part) {
	for _, list := range [][]Part{e.Tunnels, e.Checks} {
		for _, p := range list {
			switch {
			case !p.Judged() || p.Proven || p.Now == Good:
			case p.Now == Dead:
				dead = append(dead, p)
			default:
				unsure = append(unsure, p)
			}
		}
	}
	return dead, unsure
}

// Judged reports whether a part speaks for or against the change.
func (p Part) Judged() bool { return p.Touched && p.Wanted && p.Before == Good }

func died(dead []Part) string {
	if len(dead) == 1 {
		return names(dead) + " was good and is dead"
	}
	return names(dead) + " were good and are dead"
}

// names lists the first few.
func names(parts []Part) string {
	const shown = 3
	var list []string
	for _, p := range parts[:min(shown, len(parts))] {
		list = append(list, p.Name)
	}
	text := strings.Join(list, ", ")
	if n := len(parts) - shown; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// mostLines bounds the evidence of a big hub.
const mostLines = 40

func (e Evidence) decide(a Act, reason string) Decision {
	lines := e.Reach.lines()
	left := 0
	for _, p := range append(append([]Part(nil), e.Tunnels...), e.Checks...) {
		text := p.line()
		switch {
		case text == "":
		case len(lines) < mostLines:
			lines = append(lines, text)
		default:
			left++
		}
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", left))
	}
	return Decision{Act: a, Reason: reason, Evidence: lines}
}

func (c *Reach) lines() []string {
	switch {
	case c == nil:
		return []string{"collector: there is none, tunnels and checks decide"}
	case c.Receipt:
		return []string{"collector: it has signed a receipt through the new state"}
	}
	text := "collector: no answer"
	if c.Answers {
		text = "collector: it answers, but has signed no receipt"
	}
	if c.Beside {
		text += "; it does answer on a socket that passes our tables by"
	}
	lines := []string{text}
	if len(c.Moved) == 0 {
		return append(lines, "the ways to it and to the resolvers: as before")
	}
	return append(lines, c.Moved...)
}

// line says of a part what was and is; empty: there is nothing to tell.
func (p Part) line() string {
	was, is := p.Before.String(), p.Now.String()
	if p.Was != "" {
		was += " (" + p.Was + ")"
	}
	if p.Is != "" {
		is += " (" + p.Is + ")"
	}
	switch {
	case !p.Wanted:
		return ""
	case !p.Touched && p.Before == Good && p.Now == Dead:
		return fmt.Sprintf("%s: was %s, is %s; the change does not touch it", p.Name, was, is)
	case !p.Touched:
		return ""
	}
	return fmt.Sprintf("%s: was %s, is %s", p.Name, was, is)
}
