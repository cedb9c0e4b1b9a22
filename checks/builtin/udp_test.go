package builtin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"github.com/ginnel/ginnel/checks/internal/echo"
	"github.com/ginnel/ginnel/checks/internal/impair"
	"github.com/ginnel/ginnel/checks/stamp"
)

// responder answers test packets at a free port.
func responder(t *testing.T, host string) string {
	t.Helper()
	r, err := stamp.Listen(netip.AddrPortFrom(netip.MustParseAddr(host), 0), "lo")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	t.Cleanup(func() {
		r.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r.Addr().String()
}

func TestUDPSuite(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			options := map[string]any{"count": int64(3), "gap": "10ms"}
			checktest.Run(t, checktest.Subject{
				Kind: UDP(), Timed: true,
				Good:     checks.Target{Address: responder(t, host), Options: options},
				Refusing: &checks.Target{Address: nobody(t), Options: options},
				Silent:   &checks.Target{Address: silentHost, Options: options},
			})
		})
	}
}

func TestUDPTells(t *testing.T) {
	at := responder(t, "127.0.0.1")
	c, err := UDP().Make(checks.Target{Address: at, Source: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Options: map[string]any{"size": int64(1000)}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := c.Run(t.Context())
		expect(t, r, checks.OK, "", "")
		there, known := valueOf(r, "lost_there")
		back, _ := valueOf(r, "lost_back")
		if r.Sent != 10 || r.Received != 10 || len(r.RTT) != 10 || len(r.Packets) != 10 || r.Stamps != checks.KernelStamps || r.Path != "lo" || !known || there != 0 || back != 0 {
			t.Errorf("got %+v", r)
		}
		if len(r.Steps) != 3 || r.Steps[1].Name != "10 packets of 1000 bytes" || r.Steps[2].Detail != "0 lost on the way there, 0 on the way back" {
			t.Errorf("steps %+v", r.Steps)
		}
	}
	mirror := mirrorUDP(t, func(b []byte) []byte { return b })
	r := check(t, UDP(), checks.Target{Address: mirror, Timeout: short})
	expect(t, r, checks.Failed, checks.Protocol, checks.PhaseResponse) // no STAMP is spoken there
	plain := mirrorUDP(t, func(b []byte) []byte {                      // a reflector without state and sessions
		q, _ := stamp.ParseQuestion(b)
		stamp.Answer{Seq: q.Seq, Question: q}.Put(b)
		return b
	})
	r = check(t, UDP(), checks.Target{Address: plain})
	if _, known := valueOf(r, "lost_there"); r.Verdict != checks.OK || known {
		t.Errorf("got %+v", r)
	}
}

// mirrorUDP answers by f at a free port.
func mirrorUDP(t *testing.T, f func([]byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			conn.WriteTo(f(b[:n]), from)
		}
	}()
	return conn.LocalAddr().String()
}

// TestUDPVerdicts drives every verdict by a far side that misbehaves. A reflector
// there sees what the rules let through to it, so questions that are lost are lost
// on the way there, and answers on the way back.
func TestUDPVerdicts(t *testing.T) {
	var reflector stamp.Reflector
	far, err := impair.Open(impair.Options{
		Seed: 7, Link: "udp0", Local: []netip.Prefix{netip.MustParsePrefix("198.18.4.1/24"), netip.MustParsePrefix("2001:db8:1804::1/64")},
		UDP: func(question []byte) []byte {
			now := time.Now()
			if !reflector.Answer(question, netip.MustParseAddrPort("198.18.4.1:1"), 64, now, now) {
				return nil
			}
			return question
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	ms := time.Millisecond
	for i, test := range []struct {
		name        string
		rules       impair.Rules
		options     map[string]any
		verdict     checks.Verdict
		reason      checks.Reason
		phase       checks.Phase
		received    int
		odd         checks.Odd
		there, back float64 // -1: not known
		detail      string  // with TO for the target
	}{
		{"well", impair.Rules{Delay: 5 * ms}, nil, checks.OK, "", "", 20, checks.Odd{}, 0, 0, ""},
		{"jitter", impair.Rules{Delay: 5 * ms, Jitter: 4 * ms}, map[string]any{"gap": "30ms"}, checks.OK, "", "", 20, checks.Odd{}, 0, 0, ""},
		{"lost there", impair.Rules{BurstEvery: 10, BurstLength: 3}, nil, checks.Degraded, checks.Loss, checks.PhaseResponse, 14, checks.Odd{}, 6, 0,
			"14 of 20 replies from TO; since the last answer before: 6 lost on the way there, 0 on the way back"},
		{"lost back", impair.Rules{LoseAnswer: 3}, nil, checks.Degraded, checks.Loss, checks.PhaseResponse, 14, checks.Odd{}, 0, 6,
			"14 of 20 replies from TO; since the last answer before: 0 lost on the way there, 6 on the way back"},
		{"few lost", impair.Rules{LoseAnswer: 20}, map[string]any{"loss": int64(1)}, checks.OK, "", "", 19, checks.Odd{}, 0, 0, ""},
		{"twice", impair.Rules{Duplicate: 4}, nil, checks.OK, "", "", 20, checks.Odd{Duplicate: 5}, 0, 0, ""},
		{"out of order", impair.Rules{HoldBack: 5}, map[string]any{"gap": "10ms"}, checks.Degraded, checks.Loss, checks.PhaseResponse, 19, checks.Odd{Reordered: 3}, 0, 0,
			"19 of 20 replies from TO"},
		{"late", impair.Rules{Late: 5, LateBy: 150 * ms}, map[string]any{"wait": "80ms"}, checks.Degraded, checks.Loss, checks.PhaseResponse, 16, checks.Odd{Late: 4}, 0, 0,
			"16 of 20 replies from TO, 4 came too late"},
		{"changed", impair.Rules{Corrupt: 4}, nil, checks.Degraded, checks.Loss, checks.PhaseResponse, 15, checks.Odd{Corrupt: 5}, 0, 4,
			"15 of 20 replies from TO, 5 came back changed; since the last answer before: 0 lost on the way there, 4 on the way back, 1 not known"},
		{"damaged", impair.Rules{Damage: 4}, nil, checks.Degraded, checks.Loss, checks.PhaseResponse, 15, checks.Odd{}, 0, 4, "15 of 20 replies from TO; since the last answer before: 0 lost on the way there, 4 on the way back, 1 not known"},
		{"too long", impair.Rules{MTU: 150}, nil, checks.Failed, checks.Timeout, checks.PhaseResponse, 0, checks.Odd{}, -1, -1, "no reply from TO to 20 requests"},
		{"nobody there", impair.Rules{Ports: []uint16{1}}, nil, checks.Failed, checks.Refused, checks.PhaseRequest, 0, checks.Odd{}, -1, -1, ""},
		{"no way", impair.Rules{Deny: impair.HostUnreachable}, nil, checks.Failed, checks.Unreachable, checks.PhaseRoute, 0, checks.Odd{}, -1, -1, ""},
		{"gone", impair.Rules{Loss: 1}, nil, checks.Failed, checks.Timeout, checks.PhaseResponse, 0, checks.Odd{}, -1, -1, "no reply from TO to 20 requests"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, to := range []netip.Addr{netip.MustParseAddr(fmt.Sprintf("198.18.4.%d", 10+i)), netip.MustParseAddr(fmt.Sprintf("2001:db8:1804::%x", 0x10+i))} {
				far.Set(to, test.rules)
				options := map[string]any{"count": int64(20), "gap": "10ms"}
				for k, v := range test.options {
					options[k] = v
				}
				r := check(t, UDP(), checks.Target{Address: to.String(), Timeout: time.Second, Options: options})
				expect(t, r, test.verdict, test.reason, test.phase)
				there, known := valueOf(r, "lost_there")
				back, _ := valueOf(r, "lost_back")
				if !known {
					there, back = -1, -1
				}
				if r.Received != test.received || r.Odd != test.odd || there != test.there || back != test.back {
					t.Errorf("%v: %d received, %+v, lost there %v, back %v; want %d, %+v, %v, %v", to, r.Received, r.Odd, there, back, test.received, test.odd, test.there, test.back)
				}
				if want := test.detail; want != "" && r.Detail != replaceTo(want, to) {
					t.Errorf("%v: detail %q, want %q", to, r.Detail, replaceTo(want, to))
				}
			}
		})
	}
}

func TestUDPWays(t *testing.T) {
	const session = 7
	// A run by its questions' answers: the reflector's number; -1: lost; -2: late;
	// -3: not sent.
	run := func(numbers ...int) (o echo.Outcome) {
		for i, n := range numbers {
			p := echo.Packet{Packet: checks.Packet{Fate: checks.Answered}, Answer: &stamp.Answer{Seq: uint32(n), Session: session, Question: stamp.Question{Seq: uint32(1000 + i)}}}
			if n < 0 {
				p = echo.Packet{Packet: checks.Packet{Fate: []checks.Fate{checks.Lost, checks.Late, checks.Unsent}[-n-1]}}
			}
			o.Packets = append(o.Packets, p)
		}
		return o
	}
	lost := func(there, back, open int) waysLost {
		return waysLost{known: true, there: there, back: back, open: open}
	}
	for name, test := range map[string]struct {
		runs []echo.Outcome
		want waysLost // of the last
	}{
		"nothing lost":                     {[]echo.Outcome{run(0, 1, 2), run(3, 4)}, lost(0, 0, 0)},
		"there":                            {[]echo.Outcome{run(0, -1, 1)}, lost(1, 0, 0)},
		"back":                             {[]echo.Outcome{run(0, -1, 2)}, lost(0, 1, 0)},
		"both":                             {[]echo.Outcome{run(0, -1, -1, -1, 2)}, lost(2, 1, 0)},
		"the first, there":                 {[]echo.Outcome{run(-1, 0)}, lost(1, 0, 0)},
		"the first, back":                  {[]echo.Outcome{run(-1, 1)}, lost(0, 1, 0)},
		"the last":                         {[]echo.Outcome{run(0, -1)}, lost(0, 0, 1)},
		"the last of the run before, back": {[]echo.Outcome{run(0, -1), run(2)}, lost(0, 1, 0)},
		"a whole run, there":               {[]echo.Outcome{run(0), run(-1, -1), run(1)}, lost(2, 0, 0)},
		"a late one is not lost":           {[]echo.Outcome{run(0, -2, 2)}, lost(0, 0, 0)},
		"one that was not sent":            {[]echo.Outcome{run(0, -3, 1)}, lost(0, 0, 0)},
		"overtaken":                        {[]echo.Outcome{run(0, 2, 1, 3)}, lost(0, 0, 0)},
		"doubled on the way there":         {[]echo.Outcome{run(0, 2, 3)}, lost(0, 0, 0)},
		"the reflector begins anew":        {[]echo.Outcome{run(0, 1, 2), run(0, -1, 1)}, waysLost{}},
		"and goes on":                      {[]echo.Outcome{run(0, 1, 2), run(0, 1), run(-1, 3)}, lost(0, 1, 0)},
		"nothing heard":                    {[]echo.Outcome{run(-1, -1)}, waysLost{}},
		"one that copies":                  {[]echo.Outcome{run(1000, 1001)}, waysLost{}},
	} {
		var w ways
		var got waysLost
		for _, o := range test.runs {
			got = w.account(o, session)
		}
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestUDPRefusesOptions(t *testing.T) {
	for option, options := range map[string]map[string]any{
		"count": {"count": int64(100), "gap": "100ms"}, "gap": {"gap": "1ms"}, "size": {"size": int64(43)}, "wait": {"wait": "0s"},
	} {
		_, err := UDP().Make(checks.Target{Address: "100.64.0.1", Timeout: time.Second, Options: options})
		if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != option || e.Hint == "" {
			t.Errorf("%v: got %v", options, err)
		}
	}
}

// replaceTo puts the target into a detail.
func replaceTo(detail string, to netip.Addr) string {
	return strings.ReplaceAll(detail, "TO", netip.AddrPortFrom(to, checks.EchoPort).String())
}
