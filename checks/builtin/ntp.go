package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/beevik/ntp"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// NTP is the kind that asks a time server once, as an NTPv4 client does. Its RTT
// is without the time that the server took.
func NTP() checks.Kind {
	return checks.Kind{
		Name: "ntp",
		Doc:  "asks the time server at host or host:port what time it is, and whether it knows",
		Schema: checks.Schema{
			"offset":        {Type: "duration", Doc: "degraded when the server's clock and this host's are further apart", Default: "1s", Min: new(0.001), Max: new(86400.0)},
			"max_stratum":   {Type: "int", Doc: "degraded when the server is further from a reference clock", Default: 15, Min: new(1.0), Max: new(15.0)},
			"root_distance": {Type: "duration", Doc: "degraded when the server may be off by more (RFC 5905 A.5.5.2)", Default: "1.5s", Min: new(0.001), Max: new(16.0)},
		},
		New: newNTP,
	}
}

type ntpCheck struct {
	target                checks.Target
	place                 reach.Place
	maxOffset, maxRoot    time.Duration
	maxStratum            int
	quiet                 time.Time // not to be asked before that
	quietCode, quietWords string
}

func newNTP(t checks.Target) (checks.Check, error) {
	p, err := reach.ParsePlace(t.Address, 123)
	if err != nil {
		return nil, err
	}
	return &ntpCheck{target: t, place: p, maxOffset: t.DurationOption("offset"), maxRoot: t.DurationOption("root_distance"),
		maxStratum: t.IntOption("max_stratum")}, nil
}

func (c *ntpCheck) Run(ctx context.Context) checks.Result {
	var way reach.Way
	r := c.run(ctx, &way)
	return way.Told(r)
}

// run is Run, but for what is said of the way, which it finds.
func (c *ntpCheck) run(ctx context.Context, way *reach.Way) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now()}
	if r.Start.Before(c.quiet) {
		r.Verdict, r.Reason = checks.Unknown, checks.NotRun
		r.Detail = fmt.Sprintf("not asked until %s: the server said %s, %s", c.quiet.Format("15:04"), c.quietCode, c.quietWords)
		return r
	}
	r.Sent, r.Stamps = 1, checks.UserStamps
	answer, err := c.ask(ctx, &r, way)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseResponse, "asking "+c.place.String(), err))
	}
	if step := reach.Stepped(r.Start, time.Now()); step != 0 {
		r.Verdict, r.Reason, r.Phase = checks.Unknown, checks.ClockStepped, checks.PhaseResponse
		r.Detail = fmt.Sprintf("the clock of this host moved by %v during the question", step)
		return r
	}
	r.Received = 1
	if f := c.judge(answer); f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	if r.Verdict == checks.Failed {
		return r
	}
	r.RTT, r.Stamps = []time.Duration{max(answer.RTT, 0)}, checks.KernelRXStamps
	c.tell(&r, answer)
	return r
}

// ask sends the question and waits for its answer.
func (c *ntpCheck) ask(ctx context.Context, r *checks.Result, way *reach.Way) (*ntp.Response, error) {
	var stop func() bool
	timeout := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(end), time.Millisecond)
	}
	begin := time.Now()
	answer, err := ntp.QueryWithOptions(c.place.String(), ntp.QueryOptions{
		Timeout: timeout, Extensions: []ntp.Extension{ntpGuard{}},
		Dialer: func(string, string) (net.Conn, error) {
			conn, err := reach.Dial(ctx, c.target, "udp", c.place)
			if err != nil {
				return nil, err
			}
			stop = context.AfterFunc(ctx, func() { conn.Conn.Close() }) // the library sets deadlines of its own
			r.Path = conn.Link()
			r.Steps = append(r.Steps, conn.Step(c.place.Host))
			*way = conn.Way
			begin = time.Now()
			return conn.Conn, nil // of UDP itself: it asks the kernel for the time of arrival
		},
	})
	if stop != nil {
		stop()
	}
	if stop != nil { // it was asked
		step := checks.Step{Phase: checks.PhaseResponse, Name: "ask " + c.place.String(), Took: time.Since(begin)}
		if err != nil {
			step.Detail = reach.FaultOf(ctx, checks.PhaseResponse, "asking", err).Detail
		}
		r.Steps = append(r.Steps, step)
	}
	return answer, err
}

// ntpGuard refuses what the library would panic over: an interval or a precision
// of 2^-128 s, whose exponent it negates as an int8.
type ntpGuard struct{}

func (ntpGuard) ProcessQuery(*bytes.Buffer) error { return nil }

func (ntpGuard) ProcessResponse(answer []byte) error {
	if len(answer) >= 4 && (answer[2] == 0x80 || answer[3] == 0x80) {
		return errors.New("the answer has a poll interval or a precision of 2^-128 s")
	}
	return nil
}

// Kiss codes that tell a client to go away (RFC 5905 7.4), and for how long we
// do. For good, says the RFC of DENY and RSTR; but servers change their minds.
var kisses = map[string]struct {
	words string
	quiet time.Duration
}{
	"RATE": {"it is asked too often", 15 * time.Minute},
	"DENY": {"it serves others only", time.Hour},
	"RSTR": {"it serves others only", time.Hour},
}

// judge says what is wrong with an answer; nil: nothing.
func (c *ntpCheck) judge(a *ntp.Response) *reach.Fault {
	if k, ok := kisses[a.KissCode]; ok && a.IsKissOfDeath() {
		c.quiet, c.quietCode, c.quietWords = time.Now().Add(k.quiet), a.KissCode, k.words
		return reach.Fail(checks.Refused, checks.PhaseResponse, "%s says %s: %s", c.place, a.KissCode, k.words)
	}
	if why := unsynchronised(a); why != "" {
		return reach.Fail(checks.Assertion, checks.PhaseAssert, "%s does not know the time: %s", c.place, why)
	}
	if err := a.Validate(); err != nil {
		return reach.Fail(checks.Protocol, checks.PhaseResponse, "%s: %v", c.place, err)
	}
	poor := func(format string, args ...any) *reach.Fault {
		f := reach.Fail(checks.Assertion, checks.PhaseAssert, format, args...)
		f.Verdict = checks.Degraded
		return f
	}
	switch {
	case a.ClockOffset.Abs() > c.maxOffset:
		return poor("this host is %s by %s, more than %v", beside(a.ClockOffset), c.place, c.maxOffset)
	case int(a.Stratum) > c.maxStratum:
		return poor("%s is at stratum %d, more than %d", c.place, a.Stratum, c.maxStratum)
	case a.RootDistance > c.maxRoot:
		return poor("%s may be off by %v, more than %v", c.place, a.RootDistance.Round(time.Millisecond), c.maxRoot)
	}
	return nil
}

// unsynchronised says why a server has no time to give; empty: it has. Its
// leap indicator is the alarm then, or its stratum 16, which is 0 on the wire
// (RFC 5905 7.3). A server that has just started puts INIT or STEP where a kiss
// code would be.
func unsynchronised(a *ntp.Response) string {
	switch {
	case a.KissCode == "INIT", a.KissCode == "STEP":
		return "it has just started (" + a.KissCode + ")"
	case a.IsKissOfDeath() && a.KissCode != "":
		return fmt.Sprintf("its stratum is 0, its code %s", a.KissCode)
	case a.Leap == ntp.LeapNotInSync:
		return "its clock is not synchronised"
	case a.Stratum == 0, a.Stratum >= 16:
		return fmt.Sprintf("its stratum is %d", a.Stratum)
	case errors.Is(a.Validate(), ntp.ErrServerClockFreshness):
		return "it was last set at " + a.ReferenceTime.UTC().Format("2006-01-02 15:04 MST")
	}
	return ""
}

// beside says where this host's clock is when it has to move by offset.
func beside(offset time.Duration) string {
	if offset < 0 {
		return fmt.Sprintf("%v ahead", -offset.Round(time.Millisecond))
	}
	return fmt.Sprintf("%v behind", offset.Round(time.Millisecond))
}

var leaps = map[ntp.LeapIndicator]string{
	ntp.LeapAddSecond: ", a leap second is to come", ntp.LeapDelSecond: ", a second is to be left out",
}

// tell adds the figures of a usable answer.
func (c *ntpCheck) tell(r *checks.Result, a *ntp.Response) {
	r.Steps = append(r.Steps, checks.Step{Phase: checks.PhaseAssert, Name: "clock",
		Detail: fmt.Sprintf("this host is %s; stratum %d, root distance %v%s", beside(a.ClockOffset), a.Stratum, a.RootDistance.Round(time.Microsecond), leaps[a.Leap])})
	seconds := func(name string, d time.Duration) checks.Value {
		return checks.Value{Name: name, Number: d.Seconds(), Unit: "s"}
	}
	r.Values = []checks.Value{
		seconds("offset", a.ClockOffset), seconds("root_delay", a.RootDelay),
		seconds("root_dispersion", a.RootDispersion), seconds("root_distance", a.RootDistance),
		{Name: "stratum", Number: float64(a.Stratum), Unit: "1"}, {Name: "leap", Number: float64(a.Leap), Unit: "1"},
	}
}
