package builtin

import (
	"cmp"
	"crypto/tls"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

type stepsKey struct{}

// steps follows a request. The transport calls from goroutines of its own.
type steps struct {
	mu                 sync.Mutex
	phase              checks.Phase
	resolved, dialled  time.Duration
	tlsBegin           time.Time
	secured            time.Duration
	written, firstByte time.Time
	path               string
	list               []checks.Step // of connections: a redirect makes several
	why                string        // a redirect was not followed
	way                reach.Way     // of the last connection
}

// stay notes why a redirect is not followed.
func (s *steps) stay(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = why
}

// told is what Way.Told makes of a result.
func (s *steps) told(r checks.Result) checks.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.way.Told(r)
}

func (s *steps) stays() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

func (s *steps) connected(host string, l *reach.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolved, s.dialled = l.Resolved, l.Connected
	s.phase = checks.PhaseRequest
	s.path, s.way = l.Link(), l.Way
	s.list = append(s.list, l.Step(host), l.Connect())
}

func (s *steps) at(p checks.Phase, f func(now time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = cmp.Or(p, s.phase)
	f(time.Now())
}

func (s *steps) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		TLSHandshakeStart: func() { s.at(checks.PhaseTLS, func(now time.Time) { s.tlsBegin = now }) },
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if err != nil {
				s.at(checks.NoPhase, func(now time.Time) {
					s.list = append(s.list, checks.Step{Phase: checks.PhaseTLS, Name: "tls", Took: now.Sub(s.tlsBegin), Detail: tlsError(err).Error()})
				})
				return
			}
			s.at(checks.PhaseRequest, func(now time.Time) {
				s.secured = now.Sub(s.tlsBegin)
				s.list = append(s.list, checks.Step{Phase: checks.PhaseTLS, Name: "tls", Took: s.secured,
					Detail: strings.TrimSuffix(tls.VersionName(state.Version)+", "+state.NegotiatedProtocol, ", ")})
			})
		},
		// Before the flush: an answer cannot be earlier. There are no bodies.
		WroteHeaders:         func() { s.at(checks.PhaseResponse, func(now time.Time) { s.written = now }) },
		GotFirstResponseByte: func() { s.at(checks.PhaseResponse, func(now time.Time) { s.firstByte = now }) },
	}
}

func (s *steps) now() checks.Phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase
}

// rtt is from the request to the answer; false where there is no telling.
func (s *steps) rtt() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.firstByte.Sub(s.written)
	return d, !s.written.IsZero() && d > 0
}

// done lists the steps that were made, for people; whole says that there was an
// answer with a body after the first byte.
func (s *steps) done(whole bool) []checks.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.list)
	if s.written.IsZero() {
		return list
	}
	answer := checks.Step{Phase: checks.PhaseResponse, Name: "answer"}
	if s.firstByte.IsZero() {
		answer.Detail = "none"
		return append(list, answer)
	}
	answer.Took = s.firstByte.Sub(s.written)
	if !whole {
		answer.Detail = "not understood"
		return append(list, answer)
	}
	return append(list, answer, checks.Step{Phase: checks.PhaseResponse, Name: "body", Took: time.Since(s.firstByte)})
}

func (s *steps) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	round := func(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
	text := ""
	if s.dialled > 0 {
		text = "; name " + round(s.resolved) + ", connection " + round(s.dialled)
	}
	if s.secured > 0 {
		text += ", TLS " + round(s.secured)
	}
	return text
}
