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
func resolver(t *testing.T) string { return resolverOf(t, answer) }

func resolverOf(t *testing.T, answer dns.HandlerFunc) string {
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
		s.Handler, s.NotifyStartedFunc = answer, func() { close(up) }
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
	case strings.HasPrefix(name, "blocked."):
		m.Rcode = dns.RcodeNameError
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeFiltered, ExtraText: "by policy"})
	case strings.HasPrefix(name, "page."):
		m.Answer = rrs("page.example.net. 60 IN A 203.0.113.80")
	case strings.HasPrefix(name, "nowhere."):
		m.Answer = rrs("nowhere.example.net. 60 IN A 0.0.0.0")
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
		{map[string]any{"name": "blocked.example.net"}, checks.Failed, checks.Refused, checks.PhaseResponse, "blocked.example.net.: the resolver's filter blocks it: filtered by policy"},
		{map[string]any{"name": "nowhere.example.net"}, checks.Failed, checks.Refused, checks.PhaseResponse, "nowhere.example.net.: the resolver's filter blocks it: the address is 0.0.0.0"},
		{map[string]any{"name": "nowhere.example.net", "expect": []any{"0.0.0.0"}}, checks.OK, "", "", ""},
		{map[string]any{"name": "page.example.net"}, checks.OK, "", "", ""},
		{map[string]any{"name": "page.example.net", "blocked": []any{"203.0.113.80"}}, checks.Failed, checks.Refused, checks.PhaseResponse, "page.example.net.: the resolver's filter blocks it: the address is 203.0.113.80"},
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

// TestDNSCompares asks two resolvers the same, inside and outside of a split
// horizon.
func TestDNSCompares(t *testing.T) {
	inside := resolver(t)
	outside := resolverOf(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch q.Question[0].Name {
		case "forged.example.net.":
			m.Answer = rrs("forged.example.net. 60 IN A 198.51.100.20")
		case "page.example.net.":
			m.Answer = rrs("page.example.net. 60 IN A 192.0.2.80")
		case "silent.example.net.":
			return
		default:
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	for _, test := range []struct {
		name, other string
		differ      bool
		verdict     checks.Verdict
		reason      checks.Reason
		says        string
	}{
		{"forged.example.net", outside, false, checks.OK, "", ""},
		{"forged.example.net", outside, true, checks.Degraded, checks.Assertion, "forged.example.net. is 198.51.100.20 at " + inside + ", 198.51.100.20 at " + outside},
		{"page.example.net", outside, false, checks.Degraded, checks.Assertion, "203.0.113.80 at " + inside + ", 192.0.2.80 at " + outside},
		{"page.example.net", outside, true, checks.OK, "", ""},
		{"records.example.net", outside, false, checks.Degraded, checks.Assertion, "NXDOMAIN at " + outside},
		{"records.example.net", outside, true, checks.OK, "", ""},
		{"records.example.net", nobody(t), false, checks.Degraded, checks.Refused, "connection refused"},
	} {
		t.Run(fmt.Sprint(test.name, " ", test.differ), func(t *testing.T) {
			r := check(t, DNS(), checks.Target{Address: inside, Options: map[string]any{"name": test.name, "compare": []any{test.other}, "differ": test.differ}})
			if r.Verdict != test.verdict || r.Reason != test.reason || !strings.Contains(r.Detail, test.says) || len(r.RTT) != 1 {
				t.Errorf("got %s, %q: %s", r.Verdict, r.Reason, r.Detail)
			}
		})
	}
	kinds, err := checks.NewRegistry(DNS())
	if err != nil {
		t.Fatal(err)
	}
	runner := checks.NewRunner(checks.RunnerOptions{Registry: kinds})
	defer runner.Close()
	runner.Behave(checks.Manners{Off: []checks.Off{{Target: outside, Reason: "moved"}}})
	r := runner.RunOnce(t.Context(), checks.Spec{Name: "a", Kind: "dns",
		Target: checks.Target{Address: inside, Options: map[string]any{"name": "page.example.net", "compare": []any{outside}}}})
	if expect(t, r, checks.OK, "", ""); len(r.Steps) == 0 || r.Steps[len(r.Steps)-1].Detail != "not asked: switched off: moved" {
		t.Errorf("manners: steps %+v", r.Steps)
	}
}

func TestDNSRefusesOptions(t *testing.T) {
	for option, options := range map[string]map[string]any{
		"name":    {"type": "A"},
		"type":    {"name": "example.net", "type": "HINFO"},
		"compare": {"name": "example.net", "compare": []any{"192.0.2.53:0"}},
		"differ":  {"name": "example.net", "differ": true},
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
