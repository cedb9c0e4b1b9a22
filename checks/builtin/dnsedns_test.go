package builtin

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/miekg/dns"
)

// oldResolver answers EDNS with a code, as one that does not know it, and other
// questions with another. It counts them all.
func oldResolver(t *testing.T, toEDNS, toPlain int, withOPT bool) (at string, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	return resolverOf(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		switch {
		case q.IsEdns0() == nil && toPlain < 0:
			return
		case q.IsEdns0() == nil && toPlain > 0:
			m.Rcode = toPlain
		case q.IsEdns0() == nil:
			m.Answer = rrs("records.example.net. 60 IN A 198.51.100.20")
		default:
			m.Rcode, m.Question = toEDNS, nil
			if withOPT {
				m.SetEdns0(1232, false)
			}
		}
		w.WriteMsg(m)
	}), asked
}

// TestDNSWithoutEDNS asks resolvers that do not know EDNS (RFC 6891, 7).
func TestDNSWithoutEDNS(t *testing.T) {
	const again = "asked again without EDNS, to which it says "
	for _, test := range []struct {
		name            string
		toEDNS, toPlain int // codes; toPlain -1: silence
		withOPT         bool
		asked           int32
		verdict         checks.Verdict
		reason          checks.Reason
		detail          string
	}{
		{"FORMERR", dns.RcodeFormatError, 0, false, 2, checks.OK, "", again + "FORMERR"},
		{"NOTIMP", dns.RcodeNotImplemented, 0, false, 2, checks.OK, "", again + "NOTIMP"},
		{"it does not like the question", dns.RcodeFormatError, dns.RcodeFormatError, false, 2, checks.Failed, checks.NotResolved,
			"records.example.net.: the resolver says FORMERR; " + again + "FORMERR"},
		{"it knows EDNS", dns.RcodeFormatError, 0, true, 1, checks.Failed, checks.NotResolved, "records.example.net.: the resolver says FORMERR"},
		{"another code", dns.RcodeServerFailure, 0, false, 1, checks.Failed, checks.NotResolved, "records.example.net.: the resolver says SERVFAIL"},
		{"silent then", dns.RcodeFormatError, -1, false, 2, checks.Failed, checks.Timeout, "asking SERVER: no answer in time; " + again + "FORMERR"},
	} {
		for _, transport := range []string{"udp", "tcp"} {
			at, asked := oldResolver(t, test.toEDNS, test.toPlain, test.withOPT)
			r := check(t, DNS(), checks.Target{Address: at, Timeout: time.Second, Options: map[string]any{"name": "records.example.net", "transport": transport}})
			answers := int(test.asked)
			if test.toPlain < 0 {
				answers = 0
			}
			if detail := strings.ReplaceAll(r.Detail, at, "SERVER"); r.Verdict != test.verdict || r.Reason != test.reason || detail != test.detail ||
				asked.Load() != test.asked || r.Received != answers || len(r.RTT) != answers {
				t.Errorf("%s, %s, asked %d times: %+v", test.name, transport, asked.Load(), r)
			}
		}
	}
}

// TestDNSAsksNationalOnce: a second question is one to be asked for.
func TestDNSAsksNationalOnce(t *testing.T) {
	at, asked := oldResolver(t, dns.RcodeFormatError, 0, false)
	kinds, err := checks.NewRegistry(DNS())
	if err != nil {
		t.Fatal(err)
	}
	runner := checks.NewRunner(checks.RunnerOptions{Registry: kinds})
	defer runner.Close()
	runner.Behave(checks.Manners{National: []string{"127.0.0.1"}})
	r := runner.RunOnce(t.Context(), checks.Spec{Name: "names", Kind: "dns", Target: checks.Target{Address: at, Options: map[string]any{"name": "records.example.net"}}})
	const want = "records.example.net.: the resolver says FORMERR; to EDNS it says FORMERR, and is not asked without: 127.0.0.1 is national, and was asked "
	if asked.Load() != 1 || !strings.HasPrefix(r.Detail, want) {
		t.Errorf("asked %d times: %+v", asked.Load(), r)
	}
}
