package echo

import (
	"slices"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/checks"
	"golang.org/x/sys/unix"
)

const (
	// patience is how long a question may wait for room in the socket.
	patience = time.Second
	// atOnce is the most questions that leave a socket in a pass: more would be a
	// burst that a slow line loses.
	atOnce = 2 * batchSize
)

// fateOfOpen is what becomes of a question that has none when its train ends.
func fateOfOpen(p *packet) checks.Fate {
	if p.sent.IsZero() {
		return checks.Unsent
	}
	return checks.Lost
}

// flush sends what is in a socket's queue. What finds no room, or is too much at
// once, waits for the next pass.
func (e *Engine) flush(s *socket, now time.Time) {
	s.queue = slices.DeleteFunc(s.queue, func(q question) bool { return q.t.ended })
	for gone := 0; len(s.queue) > 0 && gone < atOnce; {
		n := min(len(s.queue), batchSize)
		for _, q := range s.queue[:n] {
			q.t.packets[q.i].seq = s.seq
			s.seq++
		}
		e.out.compose(s, s.queue[:n])
		left := e.transmit(s, s.queue[:n], now)
		clear(s.queue[copy(s.queue, s.queue[left:]):])
		s.queue = s.queue[:len(s.queue)-left]
		e.read(s) // the stamps, before they fill the socket, and what is near
		if left < n {
			return
		}
		gone += left
	}
}

// transmit sends composed questions and returns how many are dealt with.
func (e *Engine) transmit(s *socket, questions []question, now time.Time) int {
	again := -1 // the one that was tried twice
	for i := 0; i < len(questions); {
		at := time.Now()
		n, errno := e.out.transmit(s.fd, i, len(questions))
		for _, q := range questions[i : i+n] {
			q.t.packets[q.i].sent = at
			s.keys[s.key%ring] = stampOf{s.key, q.t.number(q.i)}
			s.key++
		}
		i += n
		if errno == 0 {
			continue
		}
		q := questions[i]
		if errno == syscall.EAGAIN && now.Sub(q.due) < patience && !q.t.ended {
			return i
		}
		// An error of a question before is reported by this call, which then
		// sent nothing: the error queue tells of that too. Once more.
		unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if again == i {
			i++
		} else {
			again = i
		}
		e.readErrors(s)
		if again != i {
			e.unsent(s, q, errno)
		}
		s.renumber()
	}
	return len(questions)
}

// unsent gives a question its fate that this host refused to send.
func (e *Engine) unsent(s *socket, q question, errno syscall.Errno) {
	switch {
	case errno == syscall.ENOBUFS, errno == syscall.ENOMEM, errno == syscall.EAGAIN:
	case errno == syscall.EINVAL && s.from.IsValid(): // it has gone since we bound it
		q.t.err = faultOfOpening(s.place, unix.EADDRNOTAVAIL)
	default:
		q.t.denial = &Denial{Errno: errno}
		if errno == syscall.EMSGSIZE {
			q.t.denial.MTU = s.mtu
		}
		q.t.packets[q.i].denial = q.t.denial
	}
	q.t.settle(q.i, checks.Unsent)
	e.settled(q.t)
}
