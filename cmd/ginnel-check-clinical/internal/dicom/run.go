package dicom

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// run is one echo.
type run struct {
	*echo
	r    checks.Result
	conn net.Conn
	raw  syscall.RawConn // of the TCP connection; nil: not to be had
}

// echoID is the id of the only message of an association.
const echoID = 1

func (u *run) do(ctx context.Context) checks.Result {
	u.r = checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Stamps: checks.UserStamps}
	if f := u.connect(ctx); f != nil {
		return reach.Asked(u.r, f)
	}
	defer u.conn.Close()
	defer reach.Until(ctx, u.conn)()
	if f := u.ask(ctx); f != nil {
		u.leave()
		return reach.Asked(u.r, f)
	}
	u.r.Received = 1
	u.part(ctx)
	return u.r
}

func (u *run) connect(ctx context.Context) *reach.Fault {
	c, err := reach.Dial(ctx, u.target, "tcp", u.place)
	if err != nil {
		return reach.FaultOf(ctx, checks.PhaseConnect, "connecting to "+u.place.String(), err)
	}
	u.step(checks.PhaseConnect, "connect "+c.To.String(), c.Connected, "")
	if t, ok := c.Conn.(*net.TCPConn); ok {
		u.raw, _ = t.SyscallConn()
	}
	u.conn = c
	if u.trust == nil {
		return nil
	}
	begin := time.Now()
	secure := tls.Client(c, u.trust.Config())
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return reach.FaultOf(ctx, checks.PhaseTLS, "TLS with "+u.place.String(), err)
	}
	u.step(checks.PhaseTLS, "tls", time.Since(begin), tls.VersionName(secure.ConnectionState().Version))
	u.conn = secure
	return nil
}

// ask makes an association and asks for the echo.
func (u *run) ask(ctx context.Context) *reach.Fault {
	begin := time.Now()
	answer, err := u.exchange(associateRequest(u.called, u.calling))
	if err != nil {
		return u.fault(ctx, checks.PhaseRequest, "asking for an association", err)
	}
	a, f := u.associated(answer)
	if f != nil {
		return f
	}
	u.step(checks.PhaseRequest, "associate", time.Since(begin), a.program())
	begin = time.Now()
	got, f := u.echoed(ctx)
	if f != nil {
		return f
	}
	took := time.Since(begin)
	u.step(checks.PhaseResponse, "echo", took, fmt.Sprintf("status %04x", got.status))
	if got.status != 0 {
		return reach.Fail(checks.Assertion, checks.PhaseAssert, "%s answers the echo with %s", u.called, got.explain())
	}
	u.r.RTT = []time.Duration{took}
	u.remember(a.program())
	return nil
}

// associated judges the answer to the request for an association.
func (u *run) associated(answer pdu) (accepted, *reach.Fault) {
	var a accepted
	switch answer.kind {
	case associateAC:
		a, err := parseAccept(answer.body)
		switch {
		case err != nil:
			return a, garbled(checks.PhaseRequest, err)
		case a.context != 0:
			return a, reach.Fail(checks.Assertion, checks.PhaseRequest, "it took the association, not the echo in it: %s", contextRefusal(a.context))
		case a.syntax != implicitLittle:
			return a, garbled(checks.PhaseRequest, malformed("it chose transfer syntax %q, which we did not offer", a.syntax))
		}
		return a, nil
	case associateRJ:
		r, err := parseRejection(answer.body)
		if err != nil {
			return a, garbled(checks.PhaseRequest, err)
		}
		return a, reach.Fail(checks.Refused, checks.PhaseRequest, "%s: %s", r, r.explain(u.called, u.calling))
	}
	return a, u.unexpected(checks.PhaseRequest, answer)
}

// echoed sends the echo and takes its answer, which may come in pieces.
func (u *run) echoed(ctx context.Context) (response, *reach.Fault) {
	answer, err := u.exchange(echoRequest(echoID))
	for c := (command{}); ; answer, err = u.read() {
		if err != nil {
			return response{}, u.fault(ctx, checks.PhaseResponse, "waiting for the echo", err)
		}
		if answer.kind != dataTF {
			return response{}, u.unexpected(checks.PhaseResponse, answer)
		}
		if err := c.take(answer.body); err != nil {
			return response{}, garbled(checks.PhaseResponse, err)
		}
		if !c.complete {
			continue
		}
		got, err := c.parse(echoID)
		if err != nil {
			return got, garbled(checks.PhaseResponse, err)
		}
		return got, nil
	}
}

// unexpected is about an answer of another type than the one that was due.
func (u *run) unexpected(p checks.Phase, answer pdu) *reach.Fault {
	if answer.kind != abortPDU {
		return garbled(p, malformed("a PDU of type %#02x was not to be expected", answer.kind))
	}
	a, err := parseAbort(answer.body)
	switch {
	case err != nil:
		return garbled(p, err)
	case p == checks.PhaseResponse:
		return reach.Fail(checks.Refused, p, "%s, at the echo: some systems do so to an AE title (%s) that they do not know", a, u.calling)
	}
	return reach.Fail(checks.Refused, p, "%s", a)
}

// partMost is how long the answer to a release is waited for.
const partMost = time.Second

// part ends the association as the standard wants it, so that it takes up no
// place in the system's table. What becomes of that changes nothing.
func (u *run) part(ctx context.Context) {
	begin := time.Now()
	if end, ok := ctx.Deadline(); !ok || end.Sub(begin) > partMost {
		u.conn.SetDeadline(begin.Add(partMost))
	}
	answer, err := u.exchange(release())
	switch {
	case err != nil:
		u.step(checks.NoPhase, "release", 0, "not answered")
		u.leave()
	case answer.kind != releaseRP:
		u.step(checks.NoPhase, "release", 0, fmt.Sprintf("answered by type %#02x", answer.kind))
	default:
		u.step(checks.NoPhase, "release", time.Since(begin), "")
	}
}

// leave tells the system that we go, where there is no association to end, or
// no time for it.
func (u *run) leave() {
	u.conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	u.conn.Write(abort().bytes())
}

func (u *run) exchange(p pdu) (pdu, error) {
	if _, err := u.conn.Write(p.bytes()); err != nil {
		return pdu{}, err
	}
	return u.read()
}

// read takes the next PDU. Systems that send an answer in two writes hold the
// second back until the first is acknowledged, which the kernel would do 40 ms
// late; that wait is not theirs, so the kernel is asked to acknowledge at once.
// It forgets that each time.
func (u *run) read() (pdu, error) { return readPDU(prompt{u.conn, u.raw}) }

// prompt reads from a connection whose kernel acknowledges at once.
type prompt struct {
	r   io.Reader
	raw syscall.RawConn
}

func (p prompt) Read(b []byte) (int, error) {
	if p.raw != nil {
		p.raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
	return p.r.Read(b)
}

// fault says what an error of the connection means.
func (u *run) fault(ctx context.Context, p checks.Phase, doing string, err error) *reach.Fault {
	if _, ok := errors.AsType[*malformedError](err); ok {
		return garbled(p, err)
	}
	return reach.FaultOf(ctx, p, doing+" at "+u.place.String(), err)
}

func garbled(p checks.Phase, err error) *reach.Fault {
	return reach.Fail(checks.Protocol, p, "%v", err)
}

func (u *run) step(p checks.Phase, name string, took time.Duration, detail string) {
	u.r.Steps = append(u.r.Steps, checks.Step{Phase: p, Name: name, Took: took, Detail: detail})
}

// remember says what program answers, and in the agent's log when that is
// another one than before.
func (u *run) remember(program string) {
	u.r.Detail = program
	if u.program != "" && program != u.program {
		u.r.Detail = fmt.Sprintf("%s, until now %s", program, u.program)
		fmt.Fprintf(os.Stderr, "check %s: %s answers with %s, until now with %s\n", u.target.Check, u.called, program, u.program)
	}
	u.program = program
}
