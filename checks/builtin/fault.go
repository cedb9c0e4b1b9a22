package builtin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/ginnel/ginnel/checks"
)

// fault is a Result that travels as an error through code that is not ours.
type fault struct{ checks.Result }

func (f *fault) Error() string { return f.Detail }

// fail makes a Result of a fault of the target or the way to it.
func fail(r checks.Reason, p checks.Phase, format string, args ...any) *fault {
	return &fault{checks.Result{Verdict: checks.Failed, Reason: r, Phase: p, Detail: fmt.Sprintf(format, args...)}}
}

// ours makes a Result of a fault of this host.
func ours(r checks.Reason, p checks.Phase, format string, args ...any) *fault {
	return &fault{checks.Result{Verdict: checks.Unknown, Reason: r, Phase: p, Detail: fmt.Sprintf(format, args...)}}
}

// faultOf says what err, which came in phase p while we did what doing says,
// means for the target.
func faultOf(ctx context.Context, p checks.Phase, doing string, err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if context.Cause(ctx) != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ours(checks.NotRun, p, "%s: broken off", doing)
	}
	if isTimeout(ctx, err) {
		return fail(checks.Timeout, p, "%s: no answer in time", doing)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		if reason, owner := reasonOf(errno); reason != checks.NoReason {
			return owner(reason, phaseOf(reason, p), "%s: %v", doing, errno)
		}
	}
	if isCertificate(err) {
		return fail(checks.Certificate, checks.PhaseTLS, "%s: %v", doing, err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fail(checks.Protocol, p, "%s: closed by the other side", doing)
	}
	if p == checks.PhaseConnect {
		return ours(checks.SelfFault, p, "%s: %v", doing, err)
	}
	return fail(checks.Protocol, p, "%s: %v", doing, err)
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
func reasonOf(errno syscall.Errno) (checks.Reason, func(checks.Reason, checks.Phase, string, ...any) *fault) {
	switch errno {
	case syscall.ECONNREFUSED:
		return checks.Refused, fail
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EPERM, syscall.EACCES,
		syscall.ENOPROTOOPT:
		return checks.Unreachable, fail
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return checks.Protocol, fail
	case syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRINUSE:
		return checks.SelfFault, ours
	}
	return checks.NoReason, nil
}

func phaseOf(r checks.Reason, p checks.Phase) checks.Phase {
	if r == checks.Unreachable {
		return checks.PhaseRoute
	}
	return p
}

// isCertificate says whether TLS refused the other side's certificate.
func isCertificate(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	return unknown || invalid || name
}
