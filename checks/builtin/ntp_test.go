package builtin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beevik/ntp"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

// timeServer is a small NTPv4 server (RFC 5905 7.3). Its zero value is at
// stratum 0; change, if set, has the last word on an answer.
type timeServer struct {
	leap, stratum byte
	code          string        // the reference ID
	ahead         time.Duration // of the true time
	root          time.Duration // dispersion
	set           time.Duration // how long ago its clock was set
	change        func(answer []byte) []byte
}

// serve answers at a free UDP port of host.
func (s timeServer) serve(t *testing.T, host string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n >= 48 {
				conn.WriteTo(s.answer(buf[:48]), from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func (s timeServer) answer(question []byte) []byte {
	now := time.Now().Add(s.ahead)
	a := make([]byte, 48)
	a[0], a[1], a[2], a[3] = s.leap<<6|4<<3|4, s.stratum, 6, 0xec // version 4, mode 4
	binary.BigEndian.PutUint32(a[8:], uint32(s.root.Seconds()*65536))
	copy(a[12:16], s.code)
	binary.BigEndian.PutUint64(a[16:], ntpTime(now.Add(-s.set)))
	copy(a[24:32], question[40:48])
	binary.BigEndian.PutUint64(a[32:], ntpTime(now))
	binary.BigEndian.PutUint64(a[40:], ntpTime(now))
	if s.change != nil {
		return s.change(a)
	}
	return a
}

// ntpTime is seconds since 1900 and 2^-32 parts of one.
func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()+2208988800)<<32 | uint64(t.Nanosecond())<<32/1e9
}

func TestNTPSuite(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			checktest.Run(t, checktest.Subject{
				Kind: NTP(), Timed: true,
				Good:     checks.Target{Address: timeServer{stratum: 2}.serve(t, host)},
				Refusing: &checks.Target{Address: nobody(t)},
				Silent:   &checks.Target{Address: silentHost},
			})
		})
	}
}

func TestNTP(t *testing.T) {
	cut := func(a []byte) []byte { return a[:40] }
	client := func(a []byte) []byte { a[0] = a[0]&^7 | 3; return a }
	foreign := func(a []byte) []byte { a[24]++; return a }
	backwards := func(a []byte) []byte { a[32]++; return a }
	precise := func(a []byte) []byte { a[3] = 0x80; return a } // the library panics over it
	for _, test := range []struct {
		name    string
		server  timeServer
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		detail  string // with SERVER for the server's address
	}{
		{"good", timeServer{stratum: 1, code: "GPS"}, checks.OK, "", "", ""},
		{"a leap second to come", timeServer{leap: 1, stratum: 2}, checks.OK, "", "", ""},
		{"ahead of us", timeServer{stratum: 2, ahead: time.Hour}, checks.Degraded, checks.Assertion, checks.PhaseAssert, "this host is 1h0m0s behind by SERVER, more than 1s"},
		{"behind us", timeServer{stratum: 2, ahead: -90 * time.Minute}, checks.Degraded, checks.Assertion, checks.PhaseAssert, "this host is 1h30m0s ahead by SERVER, more than 1s"},
		{"far from a clock", timeServer{stratum: 4}, checks.Degraded, checks.Assertion, checks.PhaseAssert, "SERVER is at stratum 4, more than 3"},
		{"unsure", timeServer{stratum: 2, root: 2 * time.Second}, checks.Degraded, checks.Assertion, checks.PhaseAssert, "SERVER may be off by 2s, more than 1.5s"},
		{"hopelessly unsure", timeServer{stratum: 2, root: 17 * time.Second}, checks.Failed, checks.Protocol, checks.PhaseResponse, "SERVER: invalid dispersion in response"},
		{"alarm", timeServer{leap: 3, stratum: 2}, checks.Failed, checks.Assertion, checks.PhaseAssert, "SERVER does not know the time: its clock is not synchronised"},
		{"as chrony says it", timeServer{leap: 3}, checks.Failed, checks.Assertion, checks.PhaseAssert, "SERVER does not know the time: its clock is not synchronised"},
		{"stratum 16", timeServer{stratum: 16}, checks.Failed, checks.Assertion, checks.PhaseAssert, "SERVER does not know the time: its stratum is 16"},
		{"just started", timeServer{leap: 3, code: "INIT"}, checks.Failed, checks.Assertion, checks.PhaseAssert, "SERVER does not know the time: it has just started (INIT)"},
		{"free-running", timeServer{stratum: 2, set: 100 * time.Hour}, checks.Failed, checks.Assertion, checks.PhaseAssert, "SERVER does not know the time: it was last set at "},
		{"too often", timeServer{code: "RATE"}, checks.Failed, checks.Refused, checks.PhaseResponse, "SERVER says RATE: it is asked too often"},
		{"denied", timeServer{leap: 3, code: "DENY"}, checks.Failed, checks.Refused, checks.PhaseResponse, "SERVER says DENY: it serves others only"},
		{"restricted", timeServer{code: "RSTR"}, checks.Failed, checks.Refused, checks.PhaseResponse, "SERVER says RSTR: it serves others only"},
		{"another code", timeServer{code: "XMAS"}, checks.Failed, checks.Assertion, checks.PhaseAssert, "SERVER does not know the time: its stratum is 0, its code XMAS"},
		{"too short", timeServer{stratum: 2, change: cut}, checks.Failed, checks.Protocol, checks.PhaseResponse, "asking SERVER: invalid time reported"},
		{"a question for an answer", timeServer{stratum: 2, change: client}, checks.Failed, checks.Protocol, checks.PhaseResponse, "asking SERVER: invalid mode in response"},
		{"to another question", timeServer{stratum: 2, change: foreign}, checks.Failed, checks.Protocol, checks.PhaseResponse, "asking SERVER: server response didn't match request"},
		{"sent before it came", timeServer{stratum: 2, change: backwards}, checks.Failed, checks.Protocol, checks.PhaseResponse, "asking SERVER: server clock ticked backwards"},
		{"absurdly precise", timeServer{stratum: 2, change: precise}, checks.Failed, checks.Protocol, checks.PhaseResponse, "asking SERVER: the answer has a poll interval or a precision of 2^-128 s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := test.server.serve(t, "127.0.0.1")
			r := check(t, NTP(), checks.Target{Address: at, Options: map[string]any{"max_stratum": int64(3)}})
			expect(t, r, test.verdict, test.reason, test.phase)
			if want := strings.ReplaceAll(test.detail, "SERVER", at); r.Detail != want && !(strings.HasSuffix(want, " ") && strings.HasPrefix(r.Detail, want)) {
				t.Errorf("detail %q, want %q", r.Detail, want)
			}
		})
	}
	r := check(t, NTP(), checks.Target{Address: "192.0.2.77", Timeout: short})
	expect(t, r, checks.Failed, checks.Timeout, checks.PhaseResponse)
	r = check(t, NTP(), checks.Target{Address: noWay})
	expect(t, r, checks.Failed, checks.Unreachable, checks.PhaseRoute)
	r = check(t, NTP(), checks.Target{Address: "127.0.0.1:1", Source: []netip.Addr{netip.MustParseAddr("203.0.113.9")}})
	expect(t, r, checks.Unknown, checks.SelfFault, checks.PhaseConnect)
}

func TestNTPTellsItsFigures(t *testing.T) {
	at := timeServer{leap: 1, stratum: 2, ahead: 30 * time.Millisecond, root: 250 * time.Millisecond, set: time.Minute}.serve(t, "127.0.0.1")
	r := check(t, NTP(), checks.Target{Address: at, Source: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	expect(t, r, checks.OK, "", "")
	if r.Path != "lo" || r.Stamps != checks.KernelRXStamps || r.Sent != 1 || r.Received != 1 || len(r.RTT) != 1 {
		t.Errorf("got %+v", r)
	}
	for name, want := range map[string]float64{"offset": 0.03, "stratum": 2, "leap": 1, "root_dispersion": 0.25, "root_distance": 0.25, "root_delay": 0} {
		if got, ok := valueOf(r, name); !ok || got < want-0.02 || got > want+0.02 {
			t.Errorf("%s is %v, want about %v", name, got, want)
		}
	}
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, string(s.Phase)+" "+s.Name)
	}
	if got, want := strings.Join(steps, ", "), "resolve resolve 127.0.0.1, response ask "+at+", assert clock"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if last := r.Steps[len(r.Steps)-1].Detail; !strings.Contains(last, "a leap second is to come") {
		t.Errorf("the last step says %q", last)
	}
}

func valueOf(r checks.Result, name string) (float64, bool) {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Number, true
		}
	}
	return 0, false
}

// TestNTPGoesAway: after a kiss of death the server is left alone for a while.
func TestNTPGoesAway(t *testing.T) {
	asked := make(chan bool, 5)
	at := timeServer{code: "RATE", change: func(a []byte) []byte { asked <- true; return a }}.serve(t, "127.0.0.1")
	c, err := NTP().Make(checks.Target{Address: at, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c.Run(t.Context()), checks.Failed, checks.Refused, checks.PhaseResponse)
	for range 3 {
		expect(t, c.Run(t.Context()), checks.Unknown, checks.NotRun, "")
	}
	if len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
	c.(*ntpCheck).quiet = time.Now()
	expect(t, c.Run(t.Context()), checks.Failed, checks.Refused, checks.PhaseResponse)
}

func TestNTPRefusesOptions(t *testing.T) {
	for option, value := range map[string]any{"offset": "0s", "max_stratum": int64(16), "root_distance": "1h"} {
		_, err := NTP().Make(checks.Target{Address: "192.0.2.123", Options: map[string]any{option: value}})
		if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != option || e.Hint == "" {
			t.Errorf("%s: got %v", option, err)
		}
	}
}

// TestNTPAgainstChrony asks Debian's time server, as it is while it has a clock
// and while it has none.
func TestNTPAgainstChrony(t *testing.T) {
	if testing.Short() {
		t.Skip("asks a server that make needs unpacks: make test runs it")
	}
	const program = "../../build/peers/usr/sbin/chronyd"
	for _, test := range []struct {
		name, clock string
		verdict     checks.Verdict
		reason      checks.Reason
		stratum     float64
	}{
		{"with a clock", "local stratum 3", checks.OK, "", 3},
		{"without", "", checks.Failed, checks.Assertion, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, at := t.TempDir(), nobody(t)
			_, port, _ := net.SplitHostPort(at)
			conf := filepath.Join(dir, "chrony.conf")
			text := fmt.Sprintf("port %s\nbindaddress 127.0.0.1\nallow 127.0.0.0/8\ncmdport 0\npidfile %s/pid\nbindcmdaddress /\n%s\n", port, dir, test.clock)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			server := exec.Command(program, "-x", "-d", "-f", conf, "-u", "root") // -x: it leaves the clock alone
			if err := server.Start(); err != nil {
				t.Fatalf("starting chrony: %v; make needs unpacks it", err)
			}
			defer func() { server.Process.Kill(); server.Wait() }()
			var r checks.Result
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if r = check(t, NTP(), checks.Target{Address: at}); r.Reason != checks.Refused {
					break // it listens
				}
			}
			if stratum, _ := valueOf(r, "stratum"); r.Verdict != test.verdict || r.Reason != test.reason || stratum != test.stratum {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func FuzzNTPAnswer(f *testing.F) {
	f.Add(timeServer{stratum: 2}.answer(make([]byte, 48)))
	f.Add(timeServer{leap: 3, code: "RATE"}.answer(make([]byte, 48)))
	f.Fuzz(func(t *testing.T, data []byte) {
		here, there := net.Pipe()
		defer there.Close()
		go func() {
			question := make([]byte, 512)
			there.Read(question)
			if len(data) >= 32 {
				copy(data[24:32], question[40:48])
			}
			there.Write(data)
		}()
		a, err := ntp.QueryWithOptions("192.0.2.123", ntp.QueryOptions{Timeout: time.Second,
			Extensions: []ntp.Extension{ntpGuard{}}, Dialer: func(string, string) (net.Conn, error) { return here, nil }})
		if err != nil {
			return
		}
		c := ntpCheck{maxOffset: time.Second, maxRoot: time.Second, maxStratum: 3}
		r := checks.Result{Verdict: checks.OK}
		if f := c.judge(a); f != nil {
			r = f.Result
		}
		c.tell(&r, a)
		if r.Valid() != nil || strings.ContainsAny(r.Detail, "\n\r") {
			t.Fatalf("%v: %+v", r.Valid(), r)
		}
	})
}
