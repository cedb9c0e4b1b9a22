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
	"sync"
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
			"compare":   {Type: "strings", Doc: "other resolvers, at host or host:port, that are asked the same at the same time"},
			"differ":    {Type: "bool", Doc: "the others have to answer otherwise, as a split horizon does; else they have to answer the same", Default: false},
			"blocked":   {Type: "strings", Doc: "addresses of pages that say that a name is blocked", Default: []string{"0.0.0.0", "::"}},
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
	others    []reach.Place
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
	c := &dnsCheck{
		target: t, place: p, transport: t.StringOption("transport"), recurse: t.BoolOption("recurse"),
		question: dns.Question{Name: dns.Fqdn(name), Qtype: dnsTypes[t.StringOption("type")], Qclass: dns.ClassINET},
		expect:   t.StringsOption("expect"),
	}
	for _, o := range t.StringsOption("compare") {
		other, err := reach.ParsePlace(o, 53)
		if err != nil {
			return nil, &checks.OptionError{Option: "compare", Err: err}
		}
		c.others = append(c.others, other)
	}
	if t.BoolOption("differ") && len(c.others) == 0 {
		return nil, &checks.OptionError{Option: "differ", Err: errors.New("there is nobody to differ from"), Hint: "name the others in compare"}
	}
	return c, nil
}

func (c *dnsCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Stamps: checks.UserStamps}
	asked := c.askAll(ctx)
	main := asked[0]
	r.Path = main.path
	for _, a := range asked {
		r.Steps = append(r.Steps, a.steps...)
	}
	if main.err != nil {
		f := reach.FaultOf(ctx, checks.PhaseResponse, "asking "+c.place.String(), main.err)
		f.Detail = main.tell(f.Detail)
		return main.way.Told(reach.Asked(r, f))
	}
	r.RTT = main.rtts
	r.Sent, r.Received, r.Detail = len(r.RTT), len(r.RTT), main.plain
	f := c.judge(main.answer)
	if f == nil {
		f = c.compare(ctx, asked)
	}
	if f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, main.tell(f.Detail)
	}
	return main.way.Told(r)
}

// inquiry is what became of asking one resolver.
type inquiry struct {
	place  reach.Place
	answer *dns.Msg        // nil without err: not asked, for its manners' sake
	rtts   []time.Duration // of each question that was answered
	plain  string          // that it was asked without EDNS as well, and why; empty: it was not
	path   string
	way    reach.Way
	steps  []checks.Step
	err    error
}

// tell puts behind a detail that there was a second question.
func (i inquiry) tell(detail string) string { return strings.TrimSuffix(detail+"; "+i.plain, "; ") }

// askAll asks the target, which comes first, and the others at once.
func (c *dnsCheck) askAll(ctx context.Context) []inquiry {
	asked := make([]inquiry, 1+len(c.others))
	var wg sync.WaitGroup
	for i, p := range append([]reach.Place{c.place}, c.others...) {
		asked[i].place = p
		if i > 0 {
			if why := checks.MayAsk(ctx, p.String()); why != "" {
				asked[i].steps = []checks.Step{{Phase: checks.PhaseRequest, Name: "ask " + p.String(), Detail: "not asked: " + why}}
				continue
			}
		}
		wg.Go(func() { asked[i].err = c.ask(ctx, &asked[i]) })
	}
	wg.Wait()
	return asked
}

// ask asks a resolver, and one that does not know EDNS again without it (RFC 6891, 7).
func (c *dnsCheck) ask(ctx context.Context, i *inquiry) error {
	if err := c.exchange(ctx, i, true); err != nil || !knowsNoEDNS(i.answer) {
		return err
	}
	said := rcodeName(i.answer.Rcode)
	if why := checks.MayAsk(ctx, i.place.String()); why != "" {
		i.plain = fmt.Sprintf("to EDNS it says %s, and is not asked without: %s", said, why)
		return nil
	}
	i.plain = fmt.Sprintf("asked again without EDNS, to which it says %s", said)
	return c.exchange(ctx, i, false)
}

// knowsNoEDNS says whether an answer may be due to the EDNS of its question.
func knowsNoEDNS(m *dns.Msg) bool {
	return (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) && m.IsEdns0() == nil
}

// exchange sends the question and waits for its answer.
func (c *dnsCheck) exchange(ctx context.Context, i *inquiry, edns bool) error {
	conn, err := reach.Dial(ctx, c.target, c.transport, i.place)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer reach.Until(ctx, conn)()
	i.path, i.way = conn.Link(), conn.Way
	i.steps = append(i.steps, conn.Step(i.place.Host))
	m := dns.Msg{Question: []dns.Question{c.question}}
	m.Id, m.RecursionDesired = dns.Id(), c.recurse
	if edns {
		m.SetEdns0(1232, false)
	}
	packed, err := m.Pack()
	if err != nil {
		return reach.Ours(checks.SelfFault, checks.PhaseRequest, "packing the question: %v", err)
	}
	if c.transport == "tcp" {
		i.steps = append(i.steps, conn.Connect())
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	begin := time.Now()
	if _, err := conn.Write(packed); err != nil {
		return err
	}
	var passed int
	var last error
	i.answer, passed, last, err = readAnswer(conn, c.transport, m.Id, c.question)
	took := time.Since(begin)
	step := checks.Step{Phase: checks.PhaseResponse, Name: "ask " + i.place.String(), Took: took}
	if !edns {
		step.Name += " without EDNS"
	}
	if err != nil {
		f := reach.FaultOf(ctx, checks.PhaseResponse, "asking "+i.place.String(), err)
		if passed > 0 {
			f.Detail += fmt.Sprintf("; passed over %d that came: %v", passed, last)
		}
		step.Detail, err = f.Detail, f
	} else {
		step.Detail = summary(i.answer, c.question.Qtype)
		i.rtts = append(i.rtts, took)
	}
	i.steps = append(i.steps, step)
	return err
}

// summary is an answer in a few words.
func summary(m *dns.Msg, kind uint16) string {
	if m.Rcode != dns.RcodeSuccess {
		return rcodeName(m.Rcode)
	}
	if got := valuesOf(m, kind); len(got) > 0 {
		return strings.Join(got, ", ")
	}
	return "no such record"
}

// readAnswer reads until the answer to our question comes. Over UDP anything
// else may be somebody's forgery and is passed over: how many were, and what was
// wrong with the last.
func readAnswer(conn net.Conn, transport string, id uint16, q dns.Question) (m *dns.Msg, passed int, last, err error) {
	buf := make([]byte, 65535)
	for {
		data, err := readMessage(conn, transport, buf)
		if err != nil {
			return nil, passed, last, err
		}
		if m, last = parseAnswer(data, id, q); last == nil {
			return m, passed, nil, nil
		}
		if transport == "tcp" {
			return nil, 0, nil, reach.Fail(checks.Protocol, checks.PhaseResponse, "%v", last)
		}
		passed++
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
