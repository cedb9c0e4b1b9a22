package echo

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// echoes answers UDP on loopback; how says what each question gets.
func echoes(t *testing.T, how func(question []byte, answer func([]byte))) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { conn.Close() })
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			how(buf[:n], func(b []byte) { conn.WriteToUDPAddrPort(b, from) })
		}
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// once runs a train to its end.
func once(t *testing.T, e *Engine, ctx context.Context, train Train) Outcome {
	t.Helper()
	outcomes := make(chan Outcome, 1)
	e.Begin(ctx, train, func(o Outcome) { outcomes <- o })
	select {
	case o := <-outcomes:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("the train did not end")
		panic("not reached")
	}
}

func TestUDPAnswersAreTimedByTheKernel(t *testing.T) {
	to := echoes(t, func(q []byte, answer func([]byte)) {
		answer(bytes.Replace(q, []byte("ask"), []byte("had"), 1))
	})
	var e Engine
	o := once(t, &e, t.Context(), Train{To: to, Count: 5, Gap: 2 * tick, Size: 100, Ask: []byte("ask"), Answer: []byte("had"), Deadline: time.Now().Add(5 * time.Second)})
	if o.Sent != 5 || o.Received != 5 || o.Stamps != checks.KernelStamps || o.Odd != (checks.Odd{}) {
		t.Errorf("got %+v", o)
	}
	o = once(t, &e, t.Context(), Train{To: to, Count: 1, Size: 100, Ask: []byte("ask"), Deadline: time.Now().Add(5 * time.Second)})
	if o.Odd.Corrupt != 1 || o.Received != 0 {
		t.Errorf("an answer without what was asked for: %+v", o)
	}
}

// An answer that the kernel times waits to be read until others may have begun.
func TestAnswersGather(t *testing.T) {
	to := echoes(t, func(q []byte, answer func([]byte)) {
		time.Sleep(tick / 4) // else it may be there when the question has just left, and is read then
		answer(q)
	})
	var e Engine
	train := Train{To: to, Count: 1, Size: 16, Deadline: time.Now().Add(20 * time.Second)}
	once(t, &e, t.Context(), train) // the first one waits for the socket too
	time.Sleep(2 * gathering)
	began := time.Now()
	o := once(t, &e, t.Context(), train)
	if took := time.Since(began); took < 3*tick || o.Received != 1 || o.Stamps != checks.KernelStamps {
		t.Errorf("told after %v: %+v", took, o)
	}
}

func TestNobodyTakesUDP(t *testing.T) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	var e Engine
	o := once(t, &e, t.Context(), Train{To: to, Count: 2, Gap: tick, Size: 16, Deadline: time.Now().Add(5 * time.Second)})
	r := o.Result(to.String())
	if r.Reason != checks.Refused || r.Sent != 2 || r.Packets[0].Fate != checks.Denied {
		t.Errorf("got %+v", r)
	}
}

// What our own socket had no room for is not said to be lost.
func TestAFullSocketIsOurFault(t *testing.T) {
	asked := 0
	to := echoes(t, func(q []byte, answer func([]byte)) {
		if asked++; asked > 1 {
			return
		}
		for range 100 {
			answer(q)
		}
	})
	e := Engine{room: 1} // the kernel gives the least it can
	o := once(t, &e, t.Context(), Train{To: to, Count: 2, Gap: 2 * tick, Size: 1000, Deadline: time.Now().Add(300 * time.Millisecond)})
	if r := o.Result(to.String()); o.Dropped == 0 || r.Verdict != checks.Unknown || r.Reason != checks.SelfFault {
		t.Errorf("%d dropped, got %+v", o.Dropped, r)
	}
}

func TestATrainEndsWithItsContext(t *testing.T) {
	to := echoes(t, func([]byte, func([]byte)) {})
	var e Engine
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	o := once(t, &e, ctx, Train{To: to, Count: 1, Size: 16, Deadline: time.Now().Add(time.Hour)})
	if r := o.Result(to.String()); r.Verdict != checks.Unknown || r.Reason != checks.NotRun {
		t.Errorf("got %+v", r)
	}
}

// A thousand trains that begin together share a socket and a goroutine, and none
// takes another's answers. Their memory does not grow with what is lost.
func TestAThousandTrains(t *testing.T) {
	n := 0
	to := echoes(t, func(q []byte, answer func([]byte)) {
		if n++; n%10 != 0 {
			answer(q)
		}
	})
	var e Engine
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sent, received, rest int
	for range 1000 {
		wg.Add(1)
		e.Begin(t.Context(), Train{To: to, Count: 3, Gap: tick, Size: 64, Deadline: time.Now().Add(2 * time.Second)}, func(o Outcome) {
			defer wg.Done()
			mu.Lock()
			defer mu.Unlock()
			sent, received, rest = sent+o.Sent, received+o.Received, rest+o.Odd.Duplicate+o.Odd.Corrupt+o.Odd.Late+o.Odd.Unsent+o.Dropped
		})
	}
	wg.Wait()
	if sent != 3000 || received != 2700 || rest != 0 {
		t.Errorf("%d of %d, %d odd; want 2700 of 3000, 0", received, sent, rest)
	}
}

func TestCloseEndsAll(t *testing.T) {
	to := echoes(t, func([]byte, func([]byte)) {})
	var e Engine
	for range 2 { // it may be used again
		outcomes := make(chan Outcome, 1)
		e.Begin(t.Context(), Train{To: to, Count: 1, Size: 16, Deadline: time.Now().Add(time.Hour)}, func(o Outcome) { outcomes <- o })
		time.Sleep(5 * tick)
		if err := e.Close(); err != nil || e.loop != nil || e.sockets != nil {
			t.Errorf("%v, %+v", err, &e)
		}
		if o := <-outcomes; !o.Broken {
			t.Errorf("got %+v", o)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// What nobody uses is closed after a while, and little is remembered of what is over.
func TestWhatIsOverIsForgotten(t *testing.T) {
	p := newParking()
	defer p.close()
	now := time.Now()
	e := Engine{sockets: map[place]*socket{}, ghosts: map[uint64]ghost{}}
	for _, used := range []bool{false, true} {
		k := place{udp: true, df: used}
		s, err := open(k, 1<<16)
		if err != nil || p.watch(s.fd) != nil {
			t.Fatal(err)
		}
		defer s.close()
		if s.idle = now.Add(-linger - 1); used {
			s.users = 1
		}
		e.sockets[k] = s
	}
	unused := e.sockets[place{udp: true}]
	for id := range uint64(mostEnded + 10) {
		e.ghosts[id] = ghost{}
		e.past = append(e.past, ending{id, now})
	}
	e.tidy(p, now)
	if len(e.sockets) != 1 || unused.fd != -1 || len(p.armed) != 1 {
		t.Errorf("%d sockets are open, the unused one is %d", len(e.sockets), unused.fd)
	}
	_, first := e.ghosts[9]
	_, next := e.ghosts[10]
	if len(e.past) != mostEnded || len(e.ghosts) != mostEnded || first || !next {
		t.Errorf("%d ended trains are remembered, %d in all", len(e.past), len(e.ghosts))
	}
	e.tidy(p, now.Add(linger+1))
	if len(e.past)+len(e.ghosts) != 0 {
		t.Errorf("%d ended trains are remembered after a while", len(e.ghosts))
	}
}
