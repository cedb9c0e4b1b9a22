package builtin

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// TestICMP goes through both sorts of sockets. The raw ones come first: a new
// namespace begins without groups that may open the others, and an ordinary
// user's has too few groups to be set back to that.
func TestICMP(t *testing.T) {
	for _, mode := range []struct{ name, groups, good string }{
		{"raw", nobodys, "127.0.0.1"},
		{"datagram", "0 0", "::1"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			allowGroups(t, mode.groups)
			checktest.Run(t, checktest.Subject{
				Kind: ICMP(), Timed: true,
				Good:     checks.Target{Address: mode.good},
				Refusing: &checks.Target{Address: noWay}, RefusingReason: checks.Unreachable,
				Silent: &checks.Target{Address: silentHost},
			})
			t.Run("replies", repliesOfICMP)
			t.Run("no reply", noReplyOfICMP)
			t.Run("nobody at home", nobodyAtHome)
		})
	}
}

// nobodys is the range that holds no group.
const nobodys = "1 0"

// allowGroups sets which groups of the tests' namespace may open datagram
// sockets for ICMP.
func allowGroups(t *testing.T, groups string) {
	t.Helper()
	const file = "/proc/sys/net/ipv4/ping_group_range"
	now, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	switch strings.Join(strings.Fields(string(now)), " ") {
	case groups:
		return
	case "65534 65534": // how an ordinary user's namespace shows groups that it has not
		if groups == nobodys {
			return
		}
	}
	if err := os.WriteFile(file, []byte(groups), 0); err != nil {
		t.Fatal(err)
	}
}

func repliesOfICMP(t *testing.T) {
	for _, to := range []string{"127.0.0.1", "::1", "[::1]", "localhost"} {
		r := check(t, ICMP(), checks.Target{Address: to, Options: map[string]any{"count": int64(5), "gap": "10ms", "size": int64(1000)}})
		expect(t, r, checks.OK, "", "")
		if r.Sent != 5 || r.Received != 5 || len(r.RTT) != 5 || r.Stamps != checks.KernelStamps {
			t.Errorf("%s: %+v", to, r)
		}
	}
}

func noReplyOfICMP(t *testing.T) {
	expect(t, check(t, ICMP(), checks.Target{Address: noWay}), checks.Failed, checks.Unreachable, checks.PhaseRoute)
	expect(t, check(t, ICMP(), checks.Target{Address: "avocet.invalid", Timeout: short}), checks.Failed, checks.NotResolved, checks.PhaseResolve)
	r := check(t, ICMP(), checks.Target{Address: silentHost, Timeout: short})
	expect(t, r, checks.Failed, checks.Timeout, checks.PhaseResponse)
	if r.Sent != 3 || r.Received != 0 {
		t.Errorf("got %+v", r)
	}
	r = check(t, ICMP(), checks.Target{Address: "127.0.0.1", Source: []netip.Addr{netip.MustParseAddr("203.0.113.9")}})
	expect(t, r, checks.Unknown, checks.SelfFault, checks.PhaseRoute)
}

// nobodyAtHome: nobody has that address on the link, so this host says that it
// is unreachable, a second later.
func nobodyAtHome(t *testing.T) {
	r := check(t, ICMP(), checks.Target{Address: "192.0.2.77", Options: map[string]any{"count": int64(2)}})
	expect(t, r, checks.Failed, checks.Unreachable, checks.PhaseRoute)
	if want := "192.0.2.1 says: no route to host"; r.Detail != want {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
}

func TestICMPRefusesTooLongABurst(t *testing.T) {
	_, err := ICMP().Make(checks.Target{Address: "192.0.2.1", Timeout: time.Second, Options: map[string]any{"count": int64(20), "gap": "100ms"}})
	if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != "count" {
		t.Errorf("got %v", err)
	}
}

// fullBurst is one of which three requests were sent a while ago.
func fullBurst() *burst {
	b := newBurst(4, 56, [nonceSize]byte{1, 2, 3})
	for i := range 3 {
		b.echoes[i].sent = time.Now().Add(-time.Second)
	}
	return b
}

func replyTo(t testing.TB, b *burst, i int, v6 bool) []byte {
	data, err := b.request(i, v6, 77)
	if err != nil {
		t.Fatal(err)
	}
	data[0] = byte(ipv4.ICMPTypeEchoReply)
	if v6 {
		data[0] = byte(ipv6.ICMPTypeEchoReply)
	}
	return data
}

func TestRepliesAreCountedOnce(t *testing.T) {
	now := time.Now()
	for _, v6 := range []bool{false, true} {
		b := fullBurst()
		good := replyTo(t, b, 1, v6)
		b.reply(good, v6, now, time.Time{})
		b.reply(good, v6, now.Add(time.Second), time.Time{}) // a duplicate
		unsent := replyTo(t, b, 3, v6)
		b.reply(unsent, v6, now, time.Time{})
		changed := replyTo(t, b, 2, v6)
		changed[len(changed)-1] ^= 1
		b.reply(changed, v6, now, time.Time{})
		foreign := replyTo(t, newBurst(4, 56, [nonceSize]byte{9}), 0, v6)
		b.reply(foreign, v6, now, time.Time{})
		request := replyTo(t, b, 0, v6)
		request[0] = byte(ipv4.ICMPTypeEcho) // loopback shows a raw socket the requests too
		b.reply(request, v6, now, time.Time{})
		moved := replyTo(t, b, 0, v6)
		moved[7] = 2 // the sequence number of another
		b.reply(moved, v6, now, time.Time{})
		b.reply([]byte{0}, v6, now, time.Time{})
		r := b.result(t.Context(), now.Add(-time.Second), netip.MustParseAddr("192.0.2.2"), 0, nil)
		expect(t, r, checks.Degraded, checks.Loss, checks.PhaseResponse)
		if r.Sent != 3 || r.Received != 1 || len(r.RTT) != 1 || r.RTT[0] > 1500*time.Millisecond || r.Detail != "1 of 3 replies from 192.0.2.2, 1 came back changed" {
			t.Errorf("got %+v", r)
		}
	}
}

func TestStamps(t *testing.T) {
	now := time.Now()
	begin := now.Add(-time.Second)
	full := echo{sent: begin, back: begin.Add(40 * time.Millisecond), answered: true,
		kernelSent: begin.Round(0).Add(time.Millisecond), kernelBack: begin.Round(0).Add(31 * time.Millisecond)}
	half := full
	half.kernelSent = time.Time{}
	none := half
	none.kernelBack = time.Time{}
	ms := time.Millisecond
	for _, test := range []struct {
		name   string
		start  time.Time
		echoes []echo
		rtt    time.Duration
		stamps checks.Stamps
	}{
		{"both", begin, []echo{full, {sent: begin}}, 30 * ms, checks.KernelStamps},
		{"receive only", begin, []echo{full, half}, 31 * ms, checks.KernelRXStamps},
		{"none", begin, []echo{full, half, none}, 40 * ms, checks.UserStamps},
		{"none first", begin, []echo{none, half, full}, 40 * ms, checks.UserStamps},
		{"no answer", begin, []echo{{sent: begin}}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := burst{echoes: test.echoes}
			rtts, stamps := b.times(test.start)
			if stamps != test.stamps || len(rtts) > 0 && rtts[0] != test.rtt {
				t.Errorf("got %v by %q, want %v by %q", rtts, stamps, test.rtt, test.stamps)
			}
		})
	}
	if d := stepBetween(begin, now); d != 0 {
		t.Errorf("a step of %v where there was none", d)
	}
}

func TestOurFullBufferIsNotLoss(t *testing.T) {
	b := fullBurst()
	r := b.result(t.Context(), time.Now(), netip.MustParseAddr("192.0.2.2"), 2, nil)
	expect(t, r, checks.Unknown, checks.SelfFault, checks.PhaseResponse)
}

func FuzzReply(f *testing.F) {
	b := fullBurst()
	for _, v6 := range []bool{false, true} {
		f.Add(replyTo(f, b, 1, v6), v6, false)
	}
	header, err := (&ipv4.Header{Version: 4, Len: 20, TotalLen: 84, Protocol: 1, Dst: net.IPv4(192, 0, 2, 1)}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(header, replyTo(f, b, 2, false)...), false, true)
	if m, err := (&icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable, Body: &icmp.DstUnreach{Data: header}}).Marshal(nil); err == nil {
		f.Add(m, false, false)
	}
	f.Fuzz(func(t *testing.T, packet []byte, v6, header bool) {
		b := fullBurst()
		if data, ok := payload(packet, header); ok {
			b.reply(data, v6, time.Now(), time.Time{})
			b.refuse(&echoSocket{isRaw: header}, data, &extendedError{})
		}
		if r := b.result(t.Context(), time.Now(), netip.IPv6Loopback(), 0, nil); r.Valid() != nil {
			t.Fatalf("%v: %+v", r.Valid(), r)
		}
	})
}
