package builtin

import (
	"context"
	"net"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"golang.org/x/sys/unix"
)

// TCP is the kind that opens a connection and closes it without a byte. Its RTT
// is that of the TCP handshake as the kernel measured it.
func TCP() checks.Kind {
	return checks.Kind{
		Name: "tcp",
		Doc:  "opens a TCP connection to host:port and closes it; sends nothing",
		New: func(t checks.Target) (checks.Check, error) {
			p, err := reach.ParsePlace(t.Address, 0)
			if err != nil {
				return nil, err
			}
			return &tcpCheck{target: t, place: p}, nil
		},
	}
}

type tcpCheck struct {
	target checks.Target
	place  reach.Place
	route  reach.Route
}

func (c *tcpCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1}
	conn, err := reach.Dial(ctx, c.target, "tcp", c.place)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseConnect, "connecting to "+c.place.String(), err))
	}
	defer conn.Close()
	r.Received, r.Path = 1, c.route.Link(conn.Way)
	r.Steps = []checks.Step{conn.Step(c.place.Host), conn.Connect()}
	rtt, stamps, repeated := handshakeRTT(conn)
	r.RTT, r.Stamps = []time.Duration{rtt}, stamps
	if repeated > 0 { // the kernel asks again after a second
		r.Sent += repeated
		r.Verdict, r.Reason, r.Phase = checks.Degraded, checks.Loss, checks.PhaseConnect
		r.Detail = "connected only when asked again"
	}
	return conn.Told(r)
}

// handshakeRTT is the kernel's time from SYN to SYN+ACK, or else ours for all of
// connect, and how many SYNs went without an answer.
func handshakeRTT(l *reach.Conn) (time.Duration, checks.Stamps, int) {
	tcp, ok := l.Conn.(*net.TCPConn)
	if !ok {
		return l.Connected, checks.UserStamps, 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return l.Connected, checks.UserStamps, 0
	}
	var info *unix.TCPInfo
	raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || info == nil {
		return l.Connected, checks.UserStamps, 0
	}
	rtt := time.Duration(info.Rtt) * time.Microsecond
	if rtt <= 0 || rtt > l.Connected {
		return l.Connected, checks.UserStamps, int(info.Total_retrans)
	}
	return rtt, checks.KernelStamps, int(info.Total_retrans)
}
