package builtin

import (
	"context"
	"net"
	"time"

	"github.com/ginnel/ginnel/checks"
	"golang.org/x/sys/unix"
)

// TCP is the kind that opens a connection and closes it without a byte. Its RTT
// is that of the TCP handshake as the kernel measured it.
func TCP() checks.Kind {
	return checks.Kind{
		Name: "tcp",
		Doc:  "opens a TCP connection to host:port and closes it; sends nothing",
		New: func(t checks.Target) (checks.Check, error) {
			p, err := parsePlace(t.Address, 0)
			if err != nil {
				return nil, err
			}
			return checks.Func(func(ctx context.Context) checks.Result { return runTCP(ctx, t, p) }), nil
		},
	}
}

func runTCP(ctx context.Context, t checks.Target, p place) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1}
	conn, err := dial(ctx, t, "tcp", p)
	if err != nil {
		return asked(r, faultOf(ctx, checks.PhaseConnect, "connecting to "+p.String(), err))
	}
	defer conn.Close()
	r.Received = 1
	rtt, stamps, repeated := handshakeRTT(conn)
	r.RTT, r.Stamps = []time.Duration{rtt}, stamps
	if repeated > 0 { // the kernel asks again after a second
		r.Sent += repeated
		r.Verdict, r.Reason, r.Phase = checks.Degraded, checks.Loss, checks.PhaseConnect
		r.Detail = "connected only when asked again"
	}
	return r
}

// asked fills in what a run that asked once says when it failed with f: a
// refusal is an answer; without a name nothing was asked.
func asked(r checks.Result, f *fault) checks.Result {
	r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
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

// handshakeRTT is the kernel's time from SYN to SYN+ACK, or else ours for all of
// connect, and how many SYNs went without an answer.
func handshakeRTT(l *link) (time.Duration, checks.Stamps, int) {
	tcp, ok := l.Conn.(*net.TCPConn)
	if !ok {
		return l.connected, checks.UserStamps, 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return l.connected, checks.UserStamps, 0
	}
	var info *unix.TCPInfo
	raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || info == nil {
		return l.connected, checks.UserStamps, 0
	}
	rtt := time.Duration(info.Rtt) * time.Microsecond
	if rtt <= 0 || rtt > l.connected {
		return l.connected, checks.UserStamps, int(info.Total_retrans)
	}
	return rtt, checks.KernelStamps, int(info.Total_retrans)
}
