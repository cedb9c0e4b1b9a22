// Package reach takes a check to its target, from the address that it is to come
// from, and says what an error on the way means: whether the target is at fault,
// the way to it, or this host. It is for authors of kinds, built in or plugin; a
// kind need not use it.
package reach

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/ginnel/ginnel/checks"
)

// Fault is a Result that travels as an error through code that is not ours.
type Fault struct{ checks.Result }

func (f *Fault) Error() string { return f.Detail }

// Fail makes a Result of a fault of the target or the way to it.
func Fail(r checks.Reason, p checks.Phase, format string, args ...any) *Fault {
	return &Fault{checks.Result{Verdict: checks.Failed, Reason: r, Phase: p, Detail: fmt.Sprintf(format, args...)}}
}

// Ours makes a Result of a fault of this host.
func Ours(r checks.Reason, p checks.Phase, format string, args ...any) *Fault {
	return &Fault{checks.Result{Verdict: checks.Unknown, Reason: r, Phase: p, Detail: fmt.Sprintf(format, args...)}}
}

// FaultOf says what err, which came in phase p while we did what doing says,
// means for the target.
func FaultOf(ctx context.Context, p checks.Phase, doing string, err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	if context.Cause(ctx) != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Ours(checks.NotRun, p, "%s: broken off", doing)
	}
	if isTimeout(ctx, err) {
		return Fail(checks.Timeout, p, "%s: no answer in time", doing)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if reason, owner := reasonOf(errno); reason != checks.NoReason {
			return owner(reason, phaseOf(reason, p), "%s: %v", doing, errno)
		}
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if by := Inspector(e.UnverifiedCertificates); by != "" {
			return Fail(checks.Certificate, checks.PhaseTLS, "%s: a proxy that opens TLS (%s) answers in its place: it has to leave this target out", doing, by)
		}
		return Fail(checks.Certificate, checks.PhaseTLS, "%s: %v", doing, e.Err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Fail(checks.Protocol, p, "%s: closed by the other side", doing)
	}
	if p == checks.PhaseConnect {
		return Ours(checks.SelfFault, p, "%s: %v", doing, err)
	}
	return Fail(checks.Protocol, p, "%s: %v", doing, err)
}

func isTimeout(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return true
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// reasonOf sorts the errors of the kernel. An EPERM or EACCES on the way out is
// this host's packet filter or a prohibit route.
func reasonOf(errno syscall.Errno) (checks.Reason, func(checks.Reason, checks.Phase, string, ...any) *Fault) {
	switch errno {
	case syscall.ECONNREFUSED:
		return checks.Refused, Fail
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EPERM, syscall.EACCES,
		syscall.ENOPROTOOPT:
		return checks.Unreachable, Fail
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return checks.Protocol, Fail
	case syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRINUSE:
		return checks.SelfFault, Ours
	}
	return checks.NoReason, nil
}

func phaseOf(r checks.Reason, p checks.Phase) checks.Phase {
	if r == checks.Unreachable {
		return checks.PhaseRoute
	}
	return p
}

// Asked fills in what a run that asked once says when it failed with f: a
// refusal is an answer; without a name nothing was asked. The steps of f come
// after those of r.
func Asked(r checks.Result, f *Fault) checks.Result {
	r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	r.Steps = append(r.Steps, f.Steps...)
	r.Sent, r.Received, r.RTT = 1, 0, nil
	switch {
	case f.Verdict == checks.Unknown, f.Phase == checks.PhaseResolve:
		r.Sent = 0
	case f.Reason == checks.Timeout, f.Reason == checks.Unreachable:
	default:
		r.Received = 1
	}
	return r
}
