package reach_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/builtin"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/ginnel/ginnel/checks/stamp"
	"github.com/miekg/dns"
)

// TestEachKindTellsOfAnOldAddress: while the resolver is silent a run goes to the
// last good address and says so, whatever comes of it.
func TestEachKindTellsOfAnOldAddress(t *testing.T) {
	const host = "records.example.net"
	since := time.Now().Add(-time.Hour)
	want := since.Format("(as of 15:04:05: the resolver has not answered since)")
	pages := httptest.NewServer(http.NotFoundHandler())
	defer pages.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	reflector, err := stamp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), "lo")
	if err != nil {
		t.Fatal(err)
	}
	go reflector.Serve()
	defer reflector.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	at := func(a net.Addr) string {
		_, port, _ := net.SplitHostPort(a.String())
		return net.JoinHostPort(host, port)
	}
	question := map[string]any{"name": "example.net"}
	for _, test := range []struct {
		name   string
		kind   checks.Kind
		target checks.Target
		good   bool
	}{
		{"tcp", builtin.TCP(), checks.Target{Address: at(pages.Listener.Addr())}, true},
		{"tcp refused", builtin.TCP(), checks.Target{Address: at(closed.Addr())}, false},
		{"tls not trusted", builtin.TLS(), checks.Target{Address: at(secure.Listener.Addr())}, false},
		{"tls", builtin.TLS(), checks.Target{Address: at(secure.Listener.Addr()), Options: map[string]any{"verify": false}}, true},
		{"http", builtin.HTTP(), checks.Target{Address: "http://" + at(pages.Listener.Addr()), Options: map[string]any{"status": []string{"404"}}}, true},
		{"http not found", builtin.HTTP(), checks.Target{Address: "http://" + at(pages.Listener.Addr())}, false},
		{"dns", builtin.DNS(), checks.Target{Address: at(answerUDP(t, noSuchName)), Options: question}, false},
		{"ntp", builtin.NTP(), checks.Target{Address: at(answerUDP(t, stratum1))}, true},
		{"icmp", builtin.ICMP(), checks.Target{Address: host, Options: map[string]any{"count": 1}}, true},
		{"udp", builtin.UDP(), checks.Target{Address: at(net.UDPAddrFromAddrPort(reflector.Addr())), Options: map[string]any{"count": 1}}, true},
		{"mtu", builtin.MTU(), checks.Target{Address: at(net.UDPAddrFromAddrPort(reflector.Addr())), Options: map[string]any{"max": 1280}}, true},
		{"path", builtin.Path(), checks.Target{Address: at(pages.Listener.Addr())}, true},
		{"path refused", builtin.Path(), checks.Target{Address: at(closed.Addr())}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			reach.Remember(host, netip.MustParseAddr("127.0.0.1"), since)
			c, err := test.kind.Make(test.target)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			r := c.Run(ctx)
			if (r.Verdict == checks.OK) != test.good || strings.Count(r.Detail, want) != 1 {
				t.Errorf("%s, %q; want %s", r.Verdict, r.Detail, want)
			}
			if len(r.Steps) == 0 || !strings.Contains(r.Steps[0].Detail, want) {
				t.Errorf("steps %+v", r.Steps)
			}
		})
	}
}

func answerUDP(t *testing.T, f func([]byte) []byte) net.Addr {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(f(buf[:n]), from)
		}
	}()
	return conn.LocalAddr()
}

func noSuchName(question []byte) []byte {
	var m dns.Msg
	if m.Unpack(question) != nil {
		return nil
	}
	answer, _ := new(dns.Msg).SetRcode(&m, dns.RcodeNameError).Pack()
	return answer
}

// stratum1 answers as a time server does (RFC 5905 7.3).
func stratum1(question []byte) []byte {
	now := make([]byte, 0, 16)
	b := stamp.Question{Time: stamp.TimeOf(time.Now())}.Append(now)[4:12]
	answer := make([]byte, 48)
	answer[0], answer[1], answer[3] = 0x24, 1, 0xec // no leap, version 4, server
	copy(answer[12:], "GPS")
	copy(answer[16:], b)
	copy(answer[24:], question[40:48])
	copy(answer[32:], b)
	copy(answer[40:], b)
	return answer
}
