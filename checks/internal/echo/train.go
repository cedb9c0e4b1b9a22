package echo

import (
	"cmp"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/ginnel/ginnel/checks/stamp"
)

// train is a Train on its way. It belongs to the engine's goroutine.
type train struct {
	Train
	id      uint64 // of its questions: the upper 48 bits of their numbers
	socket  *socket
	name    sockaddr
	begun   time.Time // when it was given to us
	start   time.Time // of the first question; zero: none was due yet
	packets []packet  // those that were due
	open    int       // questions without a fate
	latest  int       // the last question that was answered in time, plus one
	odd     checks.Odd
	denial  *Denial
	drops   uint32 // of the socket at the start
	broken  bool
	ended   bool
	err     *reach.Fault

	next  time.Time // of the next question, or the end
	place int       // in the engine's heap
	done  func(Outcome)
	stop  func() bool // ends the watch of the context
}

// packet is one question of a train. Times by the kernel are nanoseconds of the
// wall clock; 0: it gave none.
type packet struct {
	sent, back   time.Time // by this process: before it was sent, after its answer was read
	kSent, kBack int64
	fate         checks.Fate // empty: none yet
	seq          uint16
	denial       *Denial
	answered     *stamp.Answer // what a reflector said
}

// number is that of question i.
func (t *train) number(i int) uint64 { return t.id<<16 | uint64(i) }

// settle gives question i its fate.
func (t *train) settle(i int, f checks.Fate) {
	if t.packets[i].fate == "" {
		t.open--
	}
	t.packets[i].fate = f
}

// complete says whether there is nothing to wait for any more.
func (t *train) complete() bool { return t.open == 0 && len(t.packets) == t.Count }

// answer takes the answer to question i.
func (t *train) answer(i int, intact bool, back time.Time, kBack int64) {
	if i >= len(t.packets) {
		return
	}
	p := &t.packets[i]
	switch {
	case t.ended:
		p.fate = t.After.add(p.fate, intact)
	case p.fate == checks.Answered || p.fate == checks.Late:
		t.odd.Duplicate++
	case p.fate != "":
	case !intact:
		t.odd.Corrupt++
		t.settle(i, checks.Corrupt)
	default:
		p.back, p.kBack = back, kBack
		t.arrive(i)
	}
}

// arrive judges whether an answer came in time, and in order.
func (t *train) arrive(i int) {
	p := &t.packets[i]
	rtt, _ := p.rtt(p.level())
	if rtt > cmp.Or(t.Wait, t.Deadline.Sub(p.sent)) {
		t.odd.Late++
		t.settle(i, checks.Late)
		return
	}
	if i+1 < t.latest {
		t.odd.Reordered++
	}
	t.latest = max(t.latest, i+1)
	t.settle(i, checks.Answered)
}

// deny takes what was said of question i instead of an answer.
func (t *train) deny(i int, d *Denial, back time.Time, kBack int64) {
	if t.ended || i >= len(t.packets) || t.packets[i].fate != "" {
		return
	}
	p := &t.packets[i]
	p.back, p.kBack, p.denial = back, kBack, d
	t.denial = d
	t.settle(i, checks.Denied)
}

// outcome sums up a train that has ended.
func (t *train) outcome() Outcome {
	o := Outcome{Start: t.start, Odd: t.odd, Denial: t.denial, Broken: t.broken, Err: t.err}
	if t.start.IsZero() {
		o.Start = t.begun
	}
	o.Stamps = t.level()
	o.Packets = make([]Packet, len(t.packets))
	o.RTT = make([]time.Duration, 0, len(t.packets))
	for i := range t.packets {
		p := &t.packets[i]
		o.Packets[i] = p.tell(o.Start, o.Stamps)
		switch p.fate {
		case checks.Unsent:
			o.Odd.Unsent++
			continue
		case checks.Answered:
			o.Received++
			o.RTT = append(o.RTT, o.Packets[i].RTT)
		}
		o.Sent++
	}
	if t.After != nil {
		o.Odd.Late += t.After.late
		o.Odd.Duplicate += t.After.duplicate
		*t.After = After{}
	}
	if o.Received < o.Sent && t.socket != nil {
		t.socket.look()
		o.Dropped = int(t.socket.drops - t.drops)
		o.Odd.Dropped = o.Dropped
	}
	return o
}

// tell gives a question's fate, with the time by the best clock up to level.
func (p *packet) tell(start time.Time, level checks.Stamps) Packet {
	told := Packet{Packet: checks.Packet{At: p.sent.Sub(start), Fate: p.fate}, Denial: p.denial, Answer: p.answered}
	if p.sent.IsZero() {
		told.At = 0
	}
	if !p.back.IsZero() {
		if level == "" {
			level = p.level()
		}
		told.RTT, _ = p.rtt(level)
	}
	return told
}

// level is the best clock that has timed all answers in time; empty: there are
// none.
func (t *train) level() checks.Stamps {
	var worst checks.Stamps
	for i := range t.packets {
		if p := &t.packets[i]; p.fate == checks.Answered {
			worst = worse(worst, p.level())
		}
	}
	return worst
}

// worse is the less exact of two; an empty one does not count.
func worse(a, b checks.Stamps) checks.Stamps {
	for _, s := range []checks.Stamps{checks.UserStamps, checks.KernelRXStamps, checks.KernelStamps} {
		if a == s || b == s {
			return s
		}
	}
	return ""
}
