package builtin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/miekg/dns"
)

// DNS is the kind that asks one resolver one question. Its RTT is from the
// question to the answer, without the opening of a TCP connection.
func DNS() checks.Kind {
	return checks.Kind{
		Name: "dns",
		Doc:  "asks the resolver at host or host:port for a name",
		Schema: checks.Schema{
			"name":      {Type: "string", Doc: "the name to ask for; needed"},
			"type":      {Type: "string", Doc: "the record type", Default: "A", Enum: slices.Sorted(maps.Keys(dnsTypes))},
			"transport": {Type: "string", Doc: "how to ask", Default: "udp", Enum: []string{"udp", "tcp"}},
			"expect":    {Type: "strings", Doc: "values that must be among the answers; none: any answer will do"},
			"recurse":   {Type: "bool", Doc: "ask the resolver to ask others", Default: true},
		},
		New: newDNS,
	}
}

var dnsTypes = map[string]uint16{
	"A": dns.TypeA, "AAAA": dns.TypeAAAA, "CNAME": dns.TypeCNAME, "MX": dns.TypeMX, "NS": dns.TypeNS,
	"PTR": dns.TypePTR, "SOA": dns.TypeSOA, "SRV": dns.TypeSRV, "TXT": dns.TypeTXT,
}

type dnsCheck struct {
	target    checks.Target
	place     reach.Place
	transport string
	question  dns.Question
	recurse   bool
	expect    []string
}

func newDNS(t checks.Target) (checks.Check, error) {
	p, err := reach.ParsePlace(t.Address, 53)
	if err != nil {
		return nil, err
	}
	name := t.StringOption("name")
	if name == "" {
		return nil, &checks.OptionError{Option: "name", Err: errors.New("not given"), Hint: "the name to ask for"}
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return nil, &checks.OptionError{Option: "name", Err: fmt.Errorf("%q is not a domain name", name)}
	}
	return &dnsCheck{
		target: t, place: p, transport: t.StringOption("transport"), recurse: t.BoolOption("recurse"),
		question: dns.Question{Name: dns.Fqdn(name), Qtype: dnsTypes[t.StringOption("type")], Qclass: dns.ClassINET},
		expect:   t.StringsOption("expect"),
	}, nil
}

func (c *dnsCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Stamps: checks.UserStamps}
	answer, rtt, err := c.ask(ctx)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseResponse, "asking "+c.place.String(), err))
	}
	r.Received, r.RTT = 1, []time.Duration{rtt}
	if f := c.judge(answer); f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	return r
}

// ask sends the question and waits for its answer.
func (c *dnsCheck) ask(ctx context.Context) (*dns.Msg, time.Duration, error) {
	conn, err := reach.Dial(ctx, c.target, c.transport, c.place)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	defer reach.Until(ctx, conn)()
	m := dns.Msg{Question: []dns.Question{c.question}}
	m.Id, m.RecursionDesired = dns.Id(), c.recurse
	m.SetEdns0(1232, false)
	packed, err := m.Pack()
	if err != nil {
		return nil, 0, reach.Ours(checks.SelfFault, checks.PhaseRequest, "packing the question: %v", err)
	}
	if c.transport == "tcp" {
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	begin := time.Now()
	if _, err := conn.Write(packed); err != nil {
		return nil, 0, err
	}
	answer, err := readAnswer(conn, c.transport, m.Id, c.question)
	return answer, time.Since(begin), err
}

// readAnswer reads until the answer to our question comes. Over UDP anything
// else may be somebody's forgery and is passed over.
func readAnswer(conn net.Conn, transport string, id uint16, q dns.Question) (*dns.Msg, error) {
	buf := make([]byte, 65535)
	for {
		data, err := readMessage(conn, transport, buf)
		if err != nil {
			return nil, err
		}
		m, err := parseAnswer(data, id, q)
		if err == nil {
			return m, nil
		}
		if transport == "tcp" {
			return nil, reach.Fail(checks.Protocol, checks.PhaseResponse, "%v", err)
		}
	}
}

func readMessage(conn net.Conn, transport string, buf []byte) ([]byte, error) {
	if transport == "udp" {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(buf)
	_, err := io.ReadFull(conn, buf[:n])
	return buf[:n], err
}

// parseAnswer unpacks an answer to q with the given id.
func parseAnswer(data []byte, id uint16, q dns.Question) (*dns.Msg, error) {
	var m dns.Msg
	if err := m.Unpack(data); err != nil {
		return nil, fmt.Errorf("the answer is not DNS: %w", err)
	}
	if !m.Response || m.Id != id {
		return nil, errors.New("the answer is not to our question")
	}
	if len(m.Question) > 0 && (len(m.Question) > 1 || !strings.EqualFold(m.Question[0].Name, q.Name) || m.Question[0].Qtype != q.Qtype) {
		return nil, errors.New("the answer is to another question")
	}
	return &m, nil
}

// judge says what is wrong with an answer; nil: nothing.
func (c *dnsCheck) judge(m *dns.Msg) *reach.Fault {
	name, kind := c.question.Name, dns.TypeToString[c.question.Qtype]
	switch m.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return reach.Fail(checks.NotResolved, checks.PhaseResponse, "%s: no such name", name)
	case dns.RcodeRefused:
		return reach.Fail(checks.Refused, checks.PhaseResponse, "%s: the resolver refuses to answer", name)
	default:
		return reach.Fail(checks.NotResolved, checks.PhaseResponse, "%s: the resolver says %s", name, rcodeName(m.Rcode))
	}
	got := valuesOf(m, c.question.Qtype)
	if len(got) == 0 && !m.Truncated {
		return reach.Fail(checks.NotResolved, checks.PhaseResponse, "%s has no %s record", name, kind)
	}
	for _, want := range c.expect {
		if slices.ContainsFunc(got, func(v string) bool { return sameValue(v, want) }) {
			continue
		}
		if m.Truncated {
			return reach.Fail(checks.Assertion, checks.PhaseAssert, "%s %s: %q is not in an answer that was cut short; ask by tcp", name, kind, want)
		}
		return reach.Fail(checks.Assertion, checks.PhaseAssert, "%s %s is %s, not %s", name, kind, strings.Join(got, ", "), want)
	}
	return nil
}

func rcodeName(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprint("code ", code)
}

// valuesOf returns the records of a type as text: what a zone file has after
// the type.
func valuesOf(m *dns.Msg, kind uint16) (values []string) {
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != kind {
			continue
		}
		if txt, ok := rr.(*dns.TXT); ok {
			values = append(values, strings.Join(txt.Txt, ""))
			continue
		}
		values = append(values, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return values
}

// sameValue compares names without regard to case and the last dot.
func sameValue(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
