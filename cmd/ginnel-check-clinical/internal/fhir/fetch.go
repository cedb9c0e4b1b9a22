package fhir

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// fetch asks once; a redirect is an answer.
func (c *check) fetch(ctx context.Context) (*http.Response, []byte, error) {
	defer c.transport.CloseIdleConnections()
	answer, err := c.transport.RoundTrip(c.request(ctx))
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, bodyMost+1))
	return answer, body, err
}

func (c *check) fault(ctx context.Context, p checks.Phase, err error) *reach.Fault {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return reach.Fail(checks.Protocol, checks.PhaseTLS, "%s does not speak TLS", c.place)
	}
	return reach.FaultOf(ctx, p, "asking "+c.place.String(), reach.InWords(err))
}

// trace follows a request. The transport calls it from goroutines of its own.
type trace struct {
	mu       sync.Mutex
	phase    checks.Phase
	done     []checks.Step
	tlsBegin time.Time
	written  time.Time
	first    time.Time
}

func newTrace() *trace { return &trace{phase: checks.PhaseConnect} }

func (t *trace) follow(ctx context.Context) context.Context {
	return context.WithValue(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { t.enter(checks.PhaseTLS, func(now time.Time) { t.tlsBegin = now }) },
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			if err == nil {
				t.enter(checks.PhaseRequest, func(now time.Time) {
					t.done = append(t.done, checks.Step{Phase: checks.PhaseTLS, Name: "tls", Took: now.Sub(t.tlsBegin), Detail: tls.VersionName(s.Version)})
				})
			}
		},
		// Before the flush: an answer cannot be earlier. There is no body.
		WroteHeaders: func() { t.enter(checks.PhaseResponse, func(now time.Time) { t.written = now }) },
		GotFirstResponseByte: func() {
			t.enter(checks.PhaseResponse, func(now time.Time) {
				t.first = now
				t.done = append(t.done, checks.Step{Phase: checks.PhaseResponse, Name: "metadata", Took: now.Sub(t.written)})
			})
		},
	}), traceKey{}, t)
}

func (t *trace) connected(c *reach.Conn) {
	t.enter(checks.PhaseRequest, func(time.Time) {
		t.done = append(t.done, checks.Step{Phase: checks.PhaseResolve, Name: "resolve", Took: c.Resolved, Detail: c.To.String()},
			checks.Step{Phase: checks.PhaseConnect, Name: "connect " + c.To.String(), Took: c.Connected})
	})
}

func (t *trace) enter(p checks.Phase, f func(now time.Time)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = p
	f(time.Now())
}

func (t *trace) now() checks.Phase {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.phase
}

func (t *trace) steps() []checks.Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// rtt is from the request to the first byte of the answer; false where there is
// no telling.
func (t *trace) rtt() (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.first.Sub(t.written)
	return d, !t.written.IsZero() && d > 0
}
