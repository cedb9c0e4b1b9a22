package builtin

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
	"github.com/miekg/dns"
)

// resolver answers for example.net over both transports, at one port.
func resolver(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: pc}, {Listener: l}} {
		up := make(chan struct{})
		s.Handler, s.NotifyStartedFunc = dns.HandlerFunc(answer), func() { close(up) }
		go s.ActivateAndServe()
		<-up
		t.Cleanup(func() { s.Shutdown() })
	}
	return pc.LocalAddr().String()
}

func answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	records := map[string][]string{
		"records.example.net. A":          {"records.example.net. 60 IN CNAME hub.example.net.", "hub.example.net. 60 IN A 198.51.100.20", "hub.example.net. 60 IN A 198.51.100.21"},
		"example.net. MX":                 {"example.net. 60 IN MX 10 mail.example.net."},
		"example.net. TXT":                {`example.net. 60 IN TXT "two " "halves"`},
		"20.100.51.198.in-addr.arpa. PTR": {"20.100.51.198.in-addr.arpa. 60 IN PTR hub.example.net."},
	}
	name := strings.ToLower(q.Question[0].Name)
	switch {
	case strings.HasPrefix(name, "refused."):
		m.Rcode = dns.RcodeRefused
	case strings.HasPrefix(name, "broken."):
		m.Rcode = dns.RcodeServerFailure
	case strings.HasPrefix(name, "absent."):
		m.Rcode = dns.RcodeNameError
	case strings.HasPrefix(name, "silent."):
		return
	case strings.HasPrefix(name, "forged."): // first a forgery, then the answer
		forged := m.Copy()
		forged.Id++
		forged.Answer = rrs("forged.example.net. 60 IN A 203.0.113.66")
		w.WriteMsg(forged)
		w.Write([]byte("not DNS at all"))
		m.Answer = rrs("forged.example.net. 60 IN A 198.51.100.20")
	case strings.HasPrefix(name, "long.") && w.LocalAddr().Network() == "udp":
		m.Truncated = true
	case strings.HasPrefix(name, "long."):
		m.Answer = rrs("long.example.net. 60 IN A 198.51.100.20")
	default:
		m.Answer = rrs(records[name+" "+dns.TypeToString[q.Question[0].Qtype]]...)
	}
	w.WriteMsg(m)
}

func rrs(lines ...string) (list []dns.RR) {
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			panic(err)
		}
		list = append(list, rr)
	}
	return list
}

func TestDNSSuite(t *testing.T) {
	at := resolver(t)
	for _, transport := range []string{"udp", "tcp"} {
		options := func(name string) map[string]any { return map[string]any{"name": name, "transport": transport} }
		t.Run(transport, func(t *testing.T) {
			checktest.Run(t, checktest.Subject{
				Kind: DNS(), Timed: true,
				Good:     checks.Target{Address: at, Options: options("records.example.net")},
				Refusing: &checks.Target{Address: nobody(t), Options: options("records.example.net")},
				Silent:   &checks.Target{Address: silentHost, Options: options("records.example.net")},
			})
		})
	}
}

func TestDNS(t *testing.T) {
	at := resolver(t)
	for _, test := range []struct {
		options map[string]any
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		detail  string
	}{
		{map[string]any{"name": "records.example.net"}, checks.OK, "", "", ""},
		{map[string]any{"name": "Records.Example.NET.", "expect": []any{"198.51.100.21"}}, checks.OK, "", "", ""},
		{map[string]any{"name": "records.example.net", "expect": []any{"198.51.100.22"}}, checks.Failed, checks.Assertion, checks.PhaseAssert,
			"records.example.net. A is 198.51.100.20, 198.51.100.21, not 198.51.100.22"},
		{map[string]any{"name": "records.example.net", "type": "AAAA"}, checks.Failed, checks.NotResolved, checks.PhaseResponse, "records.example.net. has no AAAA record"},
		{map[string]any{"name": "records.example.net", "type": "AAAA", "expect": []any{"2001:db8::20"}}, checks.Failed, checks.NotResolved, checks.PhaseResponse, "records.example.net. has no AAAA record"},
		{map[string]any{"name": "example.net", "type": "MX", "expect": []any{"10 MAIL.example.net"}}, checks.OK, "", "", ""},
		{map[string]any{"name": "example.net", "type": "TXT", "expect": []any{"two halves"}}, checks.OK, "", "", ""},
		{map[string]any{"name": "20.100.51.198.in-addr.arpa", "type": "PTR", "expect": []any{"hub.example.net"}}, checks.OK, "", "", ""},
		{map[string]any{"name": "absent.example.net"}, checks.Failed, checks.NotResolved, checks.PhaseResponse, "absent.example.net.: no such name"},
		{map[string]any{"name": "refused.example.net"}, checks.Failed, checks.Refused, checks.PhaseResponse, "refused.example.net.: the resolver refuses to answer"},
		{map[string]any{"name": "broken.example.net"}, checks.Failed, checks.NotResolved, checks.PhaseResponse, "broken.example.net.: the resolver says SERVFAIL"},
		{map[string]any{"name": "forged.example.net", "expect": []any{"198.51.100.20"}}, checks.OK, "", "", ""},
		{map[string]any{"name": "forged.example.net", "transport": "tcp"}, checks.Failed, checks.Protocol, checks.PhaseResponse, "the answer is not to our question"},
		{map[string]any{"name": "long.example.net"}, checks.OK, "", "", ""},
		{map[string]any{"name": "long.example.net", "expect": []any{"198.51.100.20"}}, checks.Failed, checks.Assertion, checks.PhaseAssert,
			`long.example.net. A: "198.51.100.20" is not in an answer that was cut short; ask by tcp`},
		{map[string]any{"name": "long.example.net", "transport": "tcp", "expect": []any{"198.51.100.20"}}, checks.OK, "", "", ""},
	} {
		t.Run(fmt.Sprint(test.options), func(t *testing.T) {
			r := check(t, DNS(), checks.Target{Address: at, Options: test.options})
			expect(t, r, test.verdict, test.reason, test.phase)
			if r.Detail != test.detail {
				t.Errorf("detail %q, want %q", r.Detail, test.detail)
			}
		})
	}
	r := check(t, DNS(), checks.Target{Address: at, Timeout: short, Options: map[string]any{"name": "silent.example.net"}})
	expect(t, r, checks.Failed, checks.Timeout, checks.PhaseResponse)
	closing := serve(t, "127.0.0.1:0", func(c net.Conn) { c.Read(make([]byte, 512)) })
	r = check(t, DNS(), checks.Target{Address: closing, Options: map[string]any{"name": "x.example.net", "transport": "tcp"}})
	expect(t, r, checks.Failed, checks.Protocol, checks.PhaseResponse)
}

func TestDNSRefusesOptions(t *testing.T) {
	for option, options := range map[string]map[string]any{
		"name": {"type": "A"},
		"type": {"name": "example.net", "type": "HINFO"},
	} {
		_, err := DNS().Make(checks.Target{Address: "192.0.2.53", Options: options})
		if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != option {
			t.Errorf("%v: got %v", options, err)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	q := dns.Question{Name: "records.example.net.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	m := dns.Msg{Question: []dns.Question{q}, Answer: rrs("records.example.net. 60 IN A 198.51.100.20", `records.example.net. 60 IN TXT "x"`)}
	m.Response = true
	data, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	c := &dnsCheck{question: q, expect: []string{"198.51.100.20"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseAnswer(data, 0, q); err == nil {
			c.judge(m)
		}
	})
}
