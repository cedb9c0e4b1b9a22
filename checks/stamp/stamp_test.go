package stamp

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestWireFormat(t *testing.T) {
	q := Question{Seq: 0x01020304, Time: 0x1112131415161718, Error: 0x2001, Session: 0xabcd}
	b := q.Append(nil)
	if got, want := hex.EncodeToString(b), "0102030411121314151617182001abcd"+"00000000000000000000000000000000000000000000000000000000"; got != want || len(b) != Size {
		t.Errorf("question %s, want %s", got, want)
	}
	if back, ok := ParseQuestion(b); !ok || back != q {
		t.Errorf("read back as %+v", back)
	}
	a := Answer{Seq: 5, Time: 0x2122232425262728, Error: 0x2001, Session: 0xabcd, Received: 0x3132333435363738, Question: q, TTL: 63}
	padded := append(b, 1, 2, 3)
	a.Put(padded)
	want := "00000005" + "2122232425262728" + "2001" + "abcd" + "3132333435363738" + "01020304" + "1112131415161718" + "2001" + "0000" + "3f" + "000000" + "010203"
	if got := hex.EncodeToString(padded); got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	a.Question.Session = 0
	if back, ok := ParseAnswer(padded); !ok || back != a {
		t.Errorf("read back as %+v", back)
	}
	for _, short := range [][]byte{nil, padded[:Size-1]} {
		if _, ok := ParseQuestion(short); ok {
			t.Errorf("%d bytes are a question", len(short))
		}
		if _, ok := ParseAnswer(short); ok {
			t.Errorf("%d bytes are an answer", len(short))
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 11, 24, 14, 12, 0, 500_000_000, time.UTC)
	if got, want := TimeOf(at), Time(0xeeb019b0_80000000); got != want {
		t.Errorf("%x, want %x", got, want)
	}
	for _, d := range []time.Duration{0, time.Millisecond, -time.Millisecond, 90 * time.Minute, -90 * time.Minute} {
		if got := TimeOf(at.Add(d)).Since(TimeOf(at)); (got - d).Abs() > time.Nanosecond {
			t.Errorf("%v came back as %v", d, got)
		}
	}
	turn := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC) // of the era
	if got := TimeOf(turn.Add(time.Second)).Since(TimeOf(turn.Add(-time.Second))); got != 2*time.Second {
		t.Errorf("over the turn of the era: %v", got)
	}
}

var avocet, bittern = netip.MustParseAddrPort("100.64.0.7:40000"), netip.MustParseAddrPort("100.64.0.8:40000")

// ask lets the reflector answer, and returns the answer's number; -1: none.
func ask(r *Reflector, from netip.AddrPort, session uint16, now time.Time) int {
	b := Question{Session: session}.Append(nil)
	if !r.Answer(b, from, 64, now, now) {
		return -1
	}
	a, _ := ParseAnswer(b)
	return int(a.Seq)
}

func TestReflectorNumbersEachSession(t *testing.T) {
	var r Reflector
	now := time.Now()
	for i, step := range []struct {
		from    netip.AddrPort
		session uint16
		after   time.Duration
		want    int
	}{
		{avocet, 1, 0, 0}, {avocet, 1, 0, 1}, {avocet, 2, 0, 0}, {bittern, 1, 0, 0}, {avocet, 1, 0, 2},
		{netip.AddrPortFrom(avocet.Addr(), 40001), 1, 0, 0}, {avocet, 1, forget - 1, 3}, {avocet, 1, forget, 0},
	} {
		now = now.Add(step.after)
		if got := ask(&r, step.from, step.session, now); got != step.want {
			t.Errorf("step %d: answer number %d, want %d", i, got, step.want)
		}
	}
}

func TestReflectorIsBounded(t *testing.T) {
	var r Reflector
	now := time.Now()
	count := func(from netip.AddrPort, n int) (answered int) {
		for range n {
			if ask(&r, from, 1, now) >= 0 {
				answered++
			}
		}
		return answered
	}
	if got := count(avocet, 1000); got != peerBurst {
		t.Errorf("%d answers at once, want %d", got, peerBurst)
	}
	if got := count(bittern, 10); got != 10 {
		t.Errorf("%d of 10 answers to another site", got)
	}
	now = now.Add(time.Second)
	if got := count(avocet, 1000); got != peerRate {
		t.Errorf("%d answers a second later, want %d", got, peerRate)
	}
	now = now.Add(-time.Hour) // a clock that is set back gives nothing away, and takes nothing
	if got := count(avocet, 1); got != 0 {
		t.Errorf("%d answers after the clock was set back", got)
	}
	r = Reflector{}
	for i := range uint16(200) {
		ask(&r, avocet, i, now.Add(time.Duration(i)))
	}
	if n := len(r.peers[avocet.Addr()].sessions); n != mostOf {
		t.Errorf("%d sessions of a site are remembered, want %d", n, mostOf)
	}
	if got := ask(&r, avocet, 199, now); got != 1 {
		t.Errorf("the youngest session was forgotten: answer %d", got)
	}
	address := avocet.Addr()
	for range mostPeers + 10 {
		address = address.Next()
		ask(&r, netip.AddrPortFrom(address, 1), 1, now)
	}
	if len(r.peers) != mostPeers {
		t.Errorf("%d peers are remembered, want %d", len(r.peers), mostPeers)
	}
	if got := ask(&r, netip.AddrPortFrom(address.Next(), 1), 1, now.Add(forget+time.Second)); got != 0 || len(r.peers) != 1 {
		t.Errorf("after a while: answer %d, %d peers", got, len(r.peers))
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(Question{Seq: 1, Session: 2}.Append(nil))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, question []byte) {
		var r Reflector
		b := bytes.Clone(question)
		now := time.Now()
		if ok := r.Answer(b, avocet, 64, now, now); ok != (len(question) >= Size) || len(b) != len(question) {
			t.Fatalf("answered: %v, %d bytes for %d", ok, len(b), len(question))
		}
		if len(b) < Size {
			return
		}
		a, _ := ParseAnswer(b)
		q, _ := ParseQuestion(question)
		a.Question.Session = a.Session
		if a.Question != q || !bytes.Equal(b[Size:], question[Size:]) {
			t.Fatalf("asked %+v, answered %+v", q, a)
		}
	})
}

// TestMain runs the tests in a network namespace of their own.
func TestMain(m *testing.M) {
	if os.Getenv("GINNEL_TEST_NAMESPACE") != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, append(os.Environ(), "GINNEL_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
}

// TestResponder: it binds before its address is there, answers by its own device
// only, and says when, and how far from, a question came.
func TestResponder(t *testing.T) {
	for _, test := range []struct{ address, prefix string }{{"100.64.0.1", "/32"}, {"2001:db8:64::1", "/128"}} {
		t.Run(test.address, func(t *testing.T) {
			at := netip.AddrPortFrom(netip.MustParseAddr(test.address), 8620)
			mine, err := Listen(at, "lo")
			if err != nil {
				t.Fatal(err)
			}
			foreign, err := Listen(netip.AddrPortFrom(at.Addr(), 8621), "gn-kestrel")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []*Responder{mine, foreign} {
				served := make(chan error, 1)
				go func() { served <- r.Serve() }()
				t.Cleanup(func() {
					r.Close()
					if err := <-served; err != nil {
						t.Error(err)
					}
				})
			}
			lo, err := netlink.LinkByName("lo")
			if err == nil {
				err = netlink.LinkSetUp(lo)
			}
			address, err2 := netlink.ParseAddr(test.address + test.prefix)
			if err2 == nil && at.Addr().Is6() {
				address.Flags |= unix.IFA_F_NODAD
			}
			if err != nil || err2 != nil || netlink.AddrAdd(lo, address) != nil {
				t.Fatal(err, err2)
			}
			for end := time.Now().Add(10 * time.Second); answerTo(t, at, make([]byte, Size)) == nil; {
				if time.Now().After(end) { // the kernel takes a moment to know an IPv6 address
					t.Fatal("it answers nothing")
				}
			}
			for range 3 {
				before := time.Now()
				b := answerTo(t, at, make([]byte, 1000))
				a, ok := ParseAnswer(b)
				if !ok || len(b) != 1000 || a.Seq != 0 || a.TTL != 64 || a.Received.Since(TimeOf(before)) < 0 || a.Time.Since(a.Received) < 0 || a.Time.Since(TimeOf(time.Now())) > 0 {
					t.Errorf("got %+v, %d bytes", a, len(b))
				}
			}
			if b := answerTo(t, foreign.Addr(), make([]byte, Size)); b != nil {
				t.Errorf("it answers by another link: %x", b)
			}
			if b := answerTo(t, at, make([]byte, Size-1)); b != nil {
				t.Errorf("it answers what is no test packet: %x", b)
			}
		})
	}
}

// answerTo asks from a port of its own, so in a session of its own; nil: no answer.
func answerTo(t *testing.T, at netip.AddrPort, question []byte) []byte {
	t.Helper()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := conn.Write(question); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, err := conn.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}
