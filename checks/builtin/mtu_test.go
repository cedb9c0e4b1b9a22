package builtin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"github.com/ginnel/ginnel/checks/internal/echo"
	"github.com/ginnel/ginnel/checks/internal/impair"
	"github.com/ginnel/ginnel/checks/stamp"
)

func TestMTUSuite(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			options := map[string]any{"max": int64(1500)}
			checktest.Run(t, checktest.Subject{
				Kind:     MTU(),
				Good:     checks.Target{Address: responder(t, host), Options: options},
				Refusing: &checks.Target{Address: nobody(t), Options: options},
				Silent:   &checks.Target{Address: silentHost, Options: options},
			})
		})
	}
}

// TestMTUVerdicts drives every verdict by a far side that misbehaves.
func TestMTUVerdicts(t *testing.T) {
	var reflector stamp.Reflector
	asker := netip.MustParseAddr("100.64.0.0")
	far, err := impair.Open(impair.Options{
		Seed: 7, Link: "mtu0", Local: []netip.Prefix{netip.MustParsePrefix("198.18.5.1/24"), netip.MustParsePrefix("2001:db8:1805::1/64")},
		UDP: func(question []byte) []byte {
			now := time.Now()
			asker = asker.Next() // one alone may not ask so much
			if !reflector.Answer(question, netip.AddrPortFrom(asker, 1), 64, now, now) {
				return nil
			}
			return question
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	const hole, told = "packets of up to MTU bytes pass to TO, less than 1500 (nobody says so: a black hole)", "packets of up to MTU bytes pass to TO, less than 1500 (as a router says)"
	last := byte(9)
	var all sync.WaitGroup
	for _, test := range []struct {
		name    string
		rules   impair.Rules
		options map[string]any
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		mtu     int // 0: not found
		detail  string
	}{
		{"well", impair.Rules{}, nil, checks.OK, "", "", 1500, ""},
		{"as long as wanted", impair.Rules{MTU: 1400}, map[string]any{"max": int64(1400)}, checks.OK, "", "", 1400, ""},
		{"black hole", impair.Rules{MTU: 1400}, nil, checks.Degraded, checks.Assertion, checks.PhaseRoute, 1400, hole},
		{"a little less", impair.Rules{MTU: 1499}, nil, checks.Degraded, checks.Assertion, checks.PhaseRoute, 1499, hole},
		{"the least", impair.Rules{MTU: 1280}, nil, checks.Degraded, checks.Assertion, checks.PhaseRoute, 1280, hole},
		{"told", impair.Rules{MTU: 1420, Tell: true}, nil, checks.Degraded, checks.Assertion, checks.PhaseRoute, 1420, told},
		{"too little", impair.Rules{MTU: 1279}, nil, checks.Failed, checks.Timeout, checks.PhaseResponse, 0, "no answer from TO, not even to packets of 1280 bytes"},
		{"lossy", impair.Rules{BurstEvery: 3, BurstLength: 1}, nil, checks.OK, "", "", 1500, ""},
		{"lossy black hole", impair.Rules{BurstEvery: 3, BurstLength: 1, MTU: 1400}, nil, checks.Degraded, checks.Assertion, checks.PhaseRoute, 1400, hole},
		{"no way", impair.Rules{Deny: impair.HostUnreachable}, nil, checks.Failed, checks.Unreachable, checks.PhaseRoute, 0, ""},
		{"gone", impair.Rules{Loss: 1}, nil, checks.Failed, checks.Timeout, checks.PhaseResponse, 0, "no answer from TO, not even to packets of 1280 bytes"},
	} {
		for _, by := range []string{"udp", "icmp"} {
			last++
			for _, to := range []netip.Addr{netip.AddrFrom4([4]byte{198, 18, 5, last}), netip.MustParseAddr(fmt.Sprintf("2001:db8:1805::%x", last))} {
				far.Set(to, test.rules)
				options := map[string]any{"by": by}
				maps.Copy(options, test.options)
				all.Go(func() { // they mostly wait
					r := check(t, MTU(), checks.Target{Address: to.String(), Options: options})
					found, _ := valueOf(r, "path_mtu")
					want := strings.NewReplacer("TO", to.String(), "MTU", fmt.Sprint(test.mtu)).Replace(test.detail)
					if r.Verdict != test.verdict || r.Reason != test.reason || r.Phase != test.phase || int(found) != test.mtu || test.detail != "" && r.Detail != want {
						t.Errorf("%s by %s, %v: %s, %q, %q, found %v, %q; want %s, %q, %q, %d, %q\n%+v", test.name, by, to,
							r.Verdict, r.Reason, r.Phase, found, r.Detail, test.verdict, test.reason, test.phase, test.mtu, want, r.Steps)
					}
				})
			}
		}
	}
	all.Wait()
}

// TestMTUTellsLossFromLength: where what has passed does so no more, nothing is
// said of lengths.
func TestMTUTellsLossFromLength(t *testing.T) {
	asked := 0
	s := mtuSearch{most: 1500, good: leastMTU, probe: func(int) (echo.Outcome, error) {
		asked++
		if asked > 1 {
			return echo.Outcome{Sent: 3}, nil
		}
		return echo.Outcome{Sent: 3, Received: 3, RTT: make([]time.Duration, 3)}, nil
	}}
	f := s.run("192.0.2.1")
	want := "packets of 1280 bytes passed to 192.0.2.1, and then did not: what is lost is not for its length"
	if f == nil || f.Verdict != checks.Degraded || f.Reason != checks.Loss || f.Detail != want || s.found || asked != 3 {
		t.Errorf("got %+v after %d questions", f, asked)
	}
	s.probe = func(int) (echo.Outcome, error) { return echo.Outcome{}, context.Canceled }
	if f := s.run("192.0.2.1"); f == nil || f.Verdict != checks.Unknown {
		t.Errorf("broken off: %+v", f)
	}
}

// TestMTUIsNoVictimOfLoss: the second train, which is the first of the longest, is
// lost whole, or has a fault of ours.
func TestMTUIsNoVictimOfLoss(t *testing.T) {
	whole := func(received int) echo.Outcome {
		return echo.Outcome{Sent: 3, Received: received, RTT: make([]time.Duration, received)}
	}
	for _, test := range []struct {
		name    string
		trains  []echo.Outcome // those after the first; then all are whole
		err     error          // of the third
		found   bool
		verdict checks.Verdict // empty: well
		reason  checks.Reason
	}{
		{"a burst on a way that loses", []echo.Outcome{whole(0), whole(2)}, nil, true, "", ""},
		{"nothing lost but the longest", []echo.Outcome{whole(0), whole(3)}, nil, true, checks.Degraded, checks.Assertion},
		{"no room to send", []echo.Outcome{{Odd: checks.Odd{Unsent: 3}}}, nil, false, checks.Unknown, checks.SelfFault},
		{"no room for answers", []echo.Outcome{{Sent: 3, Dropped: 3}}, nil, false, checks.Unknown, checks.SelfFault},
		{"its time is up while it makes sure", []echo.Outcome{whole(0), whole(0)}, context.DeadlineExceeded, false, checks.Unknown, checks.NotRun},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			s := mtuSearch{most: 1500, good: leastMTU, probe: func(int) (echo.Outcome, error) {
				asked++
				if i := asked - 2; i >= 0 && i < len(test.trains) {
					if i == 1 {
						return test.trains[i], test.err
					}
					return test.trains[i], nil
				}
				return whole(3), nil
			}}
			f := s.run("192.0.2.1")
			switch {
			case s.found != test.found:
				t.Errorf("found %v after %d trains: %+v", s.found, asked, f)
			case test.verdict == "" && (f != nil || s.good != 1500), test.verdict != "" && (f == nil || f.Verdict != test.verdict || f.Reason != test.reason):
				t.Errorf("%d, %+v", s.good, f)
			}
		})
	}
}

// TestMTUBelieves no hint: routers say nonsense.
func TestMTUBelievesNoHint(t *testing.T) {
	for _, hint := range []int{0, 1, 68, 1279, 1280, 1399, 1400, 1401, 1500, 9000, 1 << 30} {
		asked := 0
		s := mtuSearch{most: 1500, good: leastMTU, probe: func(size int) (echo.Outcome, error) {
			asked++
			if size <= 1400 {
				return echo.Outcome{Sent: 1, Received: 1, RTT: make([]time.Duration, 1)}, nil
			}
			return echo.Outcome{Sent: 1, Packets: []echo.Packet{{Packet: checks.Packet{Fate: checks.Denied}, Denial: &echo.Denial{MTU: hint}}}}, nil
		}}
		if s.run("192.0.2.1"); s.good != 1400 || !s.found || asked > 30 {
			t.Errorf("hint %d: found %d after %d questions", hint, s.good, asked)
		}
	}
}

func TestMTURefusesOptions(t *testing.T) {
	for option, value := range map[string]any{"max": int64(1000), "by": "tcp", "tries": int64(1), "wait": "1ms"} {
		_, err := MTU().Make(checks.Target{Address: "100.64.0.1", Options: map[string]any{option: value}})
		if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != option || e.Hint == "" {
			t.Errorf("%s: got %v", option, err)
		}
	}
}
