package echo

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/stamp"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/ipv4"
)

// kinds are the sorts of sockets.
var kinds = map[string]socket{
	"ICMP":        {},
	"ICMPv6":      {place: place{v6: true}},
	"raw ICMP":    {raw: true},
	"raw ICMPv6":  {raw: true, place: place{v6: true}},
	"UDP":         {place: place{udp: true}},
	"UDP over v6": {place: place{udp: true, v6: true}},
}

var far = netip.MustParseAddrPort("192.0.2.2:0")

// underWay is an engine with one train of which n questions left a second ago,
// without anything of the kernel.
func underWay(kind socket, n int) (*Engine, *socket, *train) {
	s := &kind
	s.nonce, s.id, s.fd = 0x0102030405060708, 77, -1
	now := time.Now()
	t := &train{Train: Train{To: far, Count: n + 1, Size: 56, Deadline: now.Add(4 * time.Second), After: new(After)},
		id: 3, socket: s, begun: now.Add(-time.Second), start: now.Add(-time.Second)}
	for i := range n {
		t.packets = append(t.packets, packet{sent: t.start, seq: uint16(100 + i)})
		t.open++
	}
	e := &Engine{trains: map[uint64]*train{t.id: t}, ghosts: map[uint64]ghost{}, due: dueHeap{t}}
	return e, s, t
}

// answerTo is what the far side makes of question i.
func answerTo(s *socket, t *train, i int) []byte {
	asked := *t
	asked.packets = append(slices.Clone(t.packets), packet{seq: 103})
	b := s.compose(nil, &asked, i)
	switch {
	case s.udp:
	case s.v6:
		b[0] = echoReply6
	default:
		b[0] = echoReply4
	}
	if s.raw && !s.v6 {
		h, err := (&ipv4.Header{Version: 4, Len: 20, TotalLen: 20 + len(b), Protocol: 1, Dst: []byte{192, 0, 2, 1}}).Marshal()
		if err != nil {
			panic(err)
		}
		b = append(h, b...)
	}
	return b
}

func TestWhatComesIsCountedApart(t *testing.T) {
	answer := func(i int, change func([]byte)) func(*socket, *train) []byte {
		return func(s *socket, tr *train) []byte {
			b := answerTo(s, tr, i)
			if change != nil {
				change(b)
			}
			return b
		}
	}
	good := func(i int) func(*socket, *train) []byte { return answer(i, nil) }
	last := func(b []byte) { b[len(b)-1] ^= 1 }
	for _, test := range []struct {
		name     string
		come     []func(*socket, *train) []byte
		wait     time.Duration
		received int
		odd      checks.Odd
	}{
		{"all", []func(*socket, *train) []byte{good(0), good(1), good(2)}, 0, 3, checks.Odd{}},
		{"twice", []func(*socket, *train) []byte{good(1), good(1), good(1)}, 0, 1, checks.Odd{Duplicate: 2}},
		{"in another order", []func(*socket, *train) []byte{good(1), good(2), good(0)}, 0, 3, checks.Odd{Reordered: 1}},
		{"the other way round", []func(*socket, *train) []byte{good(2), good(1), good(0)}, 0, 3, checks.Odd{Reordered: 2}},
		{"changed", []func(*socket, *train) []byte{answer(0, last), good(1)}, 0, 1, checks.Odd{Corrupt: 1}},
		{"cut", []func(*socket, *train) []byte{func(s *socket, tr *train) []byte { b := answerTo(s, tr, 0); return b[:len(b)-4] }}, 0, 0, checks.Odd{Corrupt: 1}},
		{"late", []func(*socket, *train) []byte{good(0), good(0)}, 900 * time.Millisecond, 0, checks.Odd{Late: 1, Duplicate: 1}},
		{"to a question that did not leave", []func(*socket, *train) []byte{good(3)}, 0, 0, checks.Odd{}},
	} {
		for kind, s := range kinds {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				e, s, tr := underWay(s, 3)
				tr.Wait = test.wait
				for _, come := range test.come {
					e.take(s, come(s, tr), false, far, notes{}, time.Now())
				}
				e.end(tr)
				tr.socket = nil
				o := tr.outcome()
				if o.Sent != 3 || o.Received != test.received || len(o.RTT) != o.Received {
					t.Errorf("%d of %d, %d times; want %d of 3", o.Received, o.Sent, len(o.RTT), test.received)
				}
				if diff := cmp.Diff(test.odd, o.Odd); diff != "" {
					t.Error(diff)
				}
				if err := o.Result("192.0.2.2").Valid(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestWhatIsNotOursIsNotCounted(t *testing.T) {
	for kind, k := range kinds {
		t.Run(kind, func(t *testing.T) {
			e, s, tr := underWay(k, 3)
			strange := *s
			strange.nonce++
			b := answerTo(&strange, tr, 0)
			e.take(s, b, false, netip.MustParseAddrPort("198.51.100.7:0"), notes{}, time.Now())
			request := s.compose(nil, tr, 0) // loopback shows a raw socket those too
			if !s.udp {
				e.take(s, request, false, far, notes{}, time.Now())
			}
			for n := range len(b) {
				e.take(s, b[:n], false, netip.AddrPort{}, notes{}, time.Now())
			}
			if tr.open != 3 || tr.odd != (checks.Odd{}) {
				t.Errorf("open %d, %+v", tr.open, tr.odd)
			}
		})
	}
}

// What comes when a train has ended is told with the next one of the check.
func TestAnswersAfterTheEnd(t *testing.T) {
	e, s, tr := underWay(socket{}, 3)
	e.take(s, answerTo(s, tr, 0), false, far, notes{}, time.Now())
	e.end(tr)
	for _, i := range []int{0, 1, 1, 2} {
		e.take(s, answerTo(s, tr, i), false, far, notes{}, time.Now())
	}
	next := &train{Train: Train{After: tr.After}}
	if got, want := next.outcome().Odd, (checks.Odd{Late: 2, Duplicate: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := next.outcome().Odd; got != (checks.Odd{}) {
		t.Errorf("told twice: %+v", got)
	}
}

// The same once its own outcome was told: little of it is kept then.
func TestAnswersAfterTheOutcome(t *testing.T) {
	e, s, tr := underWay(socket{}, 3)
	e.take(s, answerTo(s, tr, 0), false, far, notes{}, time.Now())
	answers := [][]byte{answerTo(s, tr, 0), answerTo(s, tr, 2), answerTo(s, tr, 2), answerTo(s, tr, 1)}
	answers[3][len(answers[3])-1]++
	e.end(tr)
	now := time.Now()
	e.haunt(tr, now)
	if len(e.trains) > 0 {
		t.Errorf("it is kept whole: %+v", tr)
	}
	for _, a := range answers {
		e.take(s, a, false, far, notes{}, time.Now())
	}
	next := &train{Train: Train{After: tr.After}}
	if got, want := next.outcome().Odd, (checks.Odd{Late: 1, Duplicate: 2}); got != want {
		t.Errorf("got %+v, want %+v: a corrupt one is nobody's", got, want)
	}
	e.forget(now.Add(2 * linger))
	e.take(s, answers[0], false, far, notes{}, time.Now())
	if got := next.outcome().Odd; got != (checks.Odd{}) || len(e.ghosts) > 0 {
		t.Errorf("long after that, got %+v, and %d are remembered", got, len(e.ghosts))
	}
}

func TestDenials(t *testing.T) {
	said := notes{denial: Denial{By: netip.MustParseAddr("203.0.113.1"), Errno: syscall.EHOSTUNREACH, Type: 3, Code: 1}}
	for _, test := range []struct {
		name   string
		quoted int // bytes of what was sent
	}{{"whole", 64}, {"header only", icmpHeader}} {
		t.Run(test.name, func(t *testing.T) {
			e, s, tr := underWay(socket{}, 3)
			e.deny(s, s.compose(nil, tr, 1)[:test.quoted], far, said, time.Now())
			e.take(s, answerTo(s, tr, 0), false, far, notes{}, time.Now())
			e.end(tr)
			tr.socket = nil
			o := tr.outcome()
			if o.Received != 1 || o.Packets[1].Fate != checks.Denied || o.Packets[1].Denial == nil || o.Packets[2].Fate != checks.Lost {
				t.Errorf("got %+v", o)
			}
		})
	}
}

func TestStampsOfAnAnswer(t *testing.T) {
	now := time.Now()
	begin := now.Add(-time.Second)
	const ms = time.Millisecond
	at := func(d time.Duration) int64 { return begin.Add(d).UnixNano() }
	full := packet{sent: begin, back: begin.Add(40 * ms), fate: checks.Answered, kSent: at(ms), kBack: at(31 * ms)}
	half := full
	half.kSent = 0
	none := half
	none.kBack = 0
	beyond := full
	beyond.kBack = at(50 * ms) // the clock was stepped by less than we notice
	for _, test := range []struct {
		name    string
		packets []packet
		rtt     time.Duration
		stamps  checks.Stamps
	}{
		{"both", []packet{full, {sent: begin, fate: checks.Lost}}, 30 * ms, checks.KernelStamps},
		{"receive only", []packet{full, half}, 31 * ms, checks.KernelRXStamps},
		{"none", []packet{full, half, none}, 40 * ms, checks.UserStamps},
		{"none first", []packet{none, half, full}, 40 * ms, checks.UserStamps},
		{"not between ours", []packet{beyond}, 40 * ms, checks.UserStamps},
		{"no answer", []packet{{sent: begin, fate: checks.Lost}}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := (&train{packets: test.packets, start: begin}).outcome()
			if o.Stamps != test.stamps || len(o.RTT) > 0 && o.RTT[0] != test.rtt {
				t.Errorf("got %v by %q, want %v by %q", o.RTT, o.Stamps, test.rtt, test.stamps)
			}
		})
	}
}

// The wall clock is set while a question is out that takes 30 ms between the stamps
// and 40 ms between our readings.
func TestStampsOverASetClock(t *testing.T) {
	const ms, user, exact = time.Millisecond, 40 * time.Millisecond, 30 * time.Millisecond
	for _, step := range []time.Duration{time.Hour, -time.Hour, 50 * ms, -50 * ms, -41 * ms, 11 * ms, 9 * ms, -9 * ms, 3 * ms, -3 * ms, 60 * time.Microsecond, -60 * time.Microsecond} {
		for _, c := range []struct {
			name     string
			d, other time.Duration // what the stamps say, and what they would mean if it had been the other way
		}{{"between the stamps", exact + step, exact + step}, {"before or after them", exact, exact - step}} {
			certain := c.other < 0 || c.other > user
			if got, ok := between(c.d, user, step); ok != certain || ok && got != exact {
				t.Errorf("%v %s: %v, %v", step, c.name, got, ok)
			}
		}
	}
	for _, noise := range []time.Duration{0, 300, -300, 40 * time.Microsecond} {
		if got, ok := between(exact, user, noise); !ok || got != exact {
			t.Errorf("readings %v apart: %v, %v", noise, got, ok)
		}
	}
}

func FuzzMessages(f *testing.F) {
	names := []string{"ICMP", "ICMPv6", "raw ICMP", "raw ICMPv6", "UDP"}
	for i, name := range names {
		_, s, tr := underWay(kinds[name], 3)
		f.Add(answerTo(s, tr, 1), []byte{}, i)
	}
	control := make([]byte, 64)
	binary.NativeEndian.PutUint64(control, 64) // SOL_IP, IP_RECVERR
	binary.NativeEndian.PutUint32(control[12:], 11)
	f.Add([]byte{8, 0, 0, 0, 0, 77, 0, 101}, control, 0)
	f.Fuzz(func(t *testing.T, data, control []byte, kind int) {
		e, s, tr := underWay(kinds[names[uint(kind)%uint(len(names))]], 3)
		said := readNotes(control)
		e.take(s, data, false, far, said, time.Now())
		e.deny(s, data, far, said, time.Now())
		e.stamp(s, said)
		e.end(tr)
		tr.socket = nil
		o := tr.outcome()
		if err := o.Result("192.0.2.2").Valid(); err != nil || o.Sent != 3 {
			t.Fatalf("%v: %+v", err, o)
		}
	})
}

// However many test packets are out, none is forgotten while its answer may come,
// and none is remembered for longer.
func TestTestPacketsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{place: place{udp: true, reflected: true}, asked: make([]asked, ring), test: 1<<32 - 1000}
		tr := &train{Train: Train{Session: 7, Size: stamp.Size}, id: 3}
		var answers [][]byte
		for i := range 5 * ring {
			time.Sleep(time.Millisecond)
			b := s.compose(nil, tr, i)
			q, _ := stamp.ParseQuestion(b)
			stamp.Answer{Session: 7, Question: q}.Put(b)
			answers = append(answers, b)
		}
		for i := len(answers) - int(linger/time.Millisecond) + 1; i < len(answers); i++ {
			if number, ok := s.numberOf(answers[i]); !ok || number != tr.number(i) {
				t.Fatalf("question %d of %d is forgotten", i, len(answers))
			}
		}
		if n := len(s.asked); n > 8*ring {
			t.Errorf("%d are remembered", n)
		}
	})
}
