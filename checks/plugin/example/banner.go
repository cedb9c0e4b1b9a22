package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// lineMax is how many bytes of a greeting are read.
const lineMax = 512

// Banner is the kind. Its RTT is from the first packet to the end of the
// greeting's line, so it has the time in it that the service took to think.
func Banner() checks.Kind {
	return checks.Kind{
		Name: "banner",
		Doc:  "connects to host:port by TCP and expects a line of greeting",
		Schema: checks.Schema{
			"expect": {Type: "string", Doc: "what the greeting begins with, as in SSH- or 220; left out: any line"},
			"bye":    {Type: "string", Doc: "a line to say before hanging up, as in QUIT; left out: none"},
		},
		New: func(t checks.Target) (checks.Check, error) {
			host, port, err := net.SplitHostPort(t.Address)
			if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
				return nil, fmt.Errorf("target %q is not host:port", t.Address)
			}
			if strings.ContainsAny(t.StringOption("bye"), "\r\n") {
				return nil, &checks.OptionError{Option: "bye", Err: errors.New("has more than one line")}
			}
			return banner{t}, nil
		},
	}
}

// banner is one check. It keeps nothing between runs.
type banner struct{ target checks.Target }

// Run implements checks.Check.
func (b banner) Run(ctx context.Context) checks.Result {
	r := checks.Result{Start: time.Now()}
	if ctx.Err() != nil {
		return fail(ctx, r, checks.PhaseConnect, ctx.Err())
	}
	conn, err := b.dial(ctx)
	if err != nil {
		return fail(ctx, r, checks.PhaseConnect, err)
	}
	defer conn.Close()
	r.Sent = 1
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) // ends a read that waits
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(conn, lineMax)).ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return fail(ctx, r, checks.PhaseResponse, err)
	}
	r.Received, r.RTT, r.Stamps = 1, []time.Duration{time.Since(r.Start)}, checks.UserStamps
	if bye := b.target.StringOption("bye"); bye != "" {
		fmt.Fprintf(conn, "%s\r\n", bye)
	}
	line = strings.TrimRight(line, "\r\n")
	if want := b.target.StringOption("expect"); !strings.HasPrefix(line, want) {
		r.Verdict, r.Reason, r.Phase = checks.Failed, checks.Assertion, checks.PhaseAssert
		r.Detail = fmt.Sprintf("it greets with %.60q, not with %q", line, want)
		return r
	}
	r.Verdict = checks.OK
	return r
}

// dial connects from the address that the agent wants the check to come from:
// the overlay address of a network, so that it goes through the tunnel.
func (b banner) dial(ctx context.Context) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(b.target.Address)
	d := net.Dialer{KeepAlive: -1}
	network := "tcp"
	for _, a := range b.target.Source {
		if to, err := netip.ParseAddr(host); err == nil && to.Is4() != a.Is4() {
			continue
		}
		network = "tcp4"
		if a.Is6() {
			network = "tcp6"
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
		break
	}
	return d.DialContext(ctx, network, b.target.Address)
}

// fail says what an error means for the target. What is our own fault is
// unknown, never failed.
func fail(ctx context.Context, r checks.Result, p checks.Phase, err error) checks.Result {
	r.Verdict, r.Phase, r.Detail = checks.Failed, p, err.Error()
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Verdict, r.Reason, r.Detail = checks.Unknown, checks.NotRun, "broken off"
	case isDNS:
		r.Reason, r.Phase, r.Detail = checks.NotResolved, checks.PhaseResolve, dns.Error()
	case ctx.Err() != nil, timeout != nil && timeout.Timeout():
		r.Reason, r.Detail = checks.Timeout, "no greeting in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		r.Reason = checks.Refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		r.Reason, r.Phase = checks.Unreachable, checks.PhaseRoute
	case p == checks.PhaseResponse:
		r.Reason, r.Detail = checks.Protocol, "closed without a greeting"
	default:
		r.Verdict, r.Reason = checks.Unknown, checks.SelfFault
	}
	return r
}
