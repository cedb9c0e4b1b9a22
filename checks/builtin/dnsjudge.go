package builtin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/miekg/dns"
)

// judge says what is wrong with an answer; nil: nothing.
func (c *dnsCheck) judge(m *dns.Msg) *reach.Fault {
	name, kind := c.question.Name, dns.TypeToString[c.question.Qtype]
	if by := c.filtered(m); by != "" {
		return reach.Fail(checks.Refused, checks.PhaseResponse, "%s: the resolver's filter blocks it: %s", name, by)
	}
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

// Extended DNS errors by which a resolver says that it blocks a name
// (RFC 8914 4.16 to 4.18).
var blockings = map[uint16]string{
	dns.ExtendedErrorCodeBlocked: "blocked", dns.ExtendedErrorCodeCensored: "censored", dns.ExtendedErrorCodeFiltered: "filtered",
}

// filtered says by what an answer shows that the resolver's filter gave it;
// empty: it did not.
func (c *dnsCheck) filtered(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && blockings[e.InfoCode] != "" {
				return strings.TrimSpace(blockings[e.InfoCode] + " " + e.ExtraText)
			}
		}
	}
	for _, v := range valuesOf(m, c.question.Qtype) {
		blocked := slices.ContainsFunc(c.target.StringsOption("blocked"), func(b string) bool { return sameValue(b, v) })
		wanted := slices.ContainsFunc(c.expect, func(e string) bool { return sameValue(e, v) })
		if blocked && !wanted {
			return "the address is " + v
		}
	}
	return ""
}

// compare holds the others' answers beside the first; nil: they are as wanted.
// What it finds is degraded: the resolver that the check is of has answered.
func (c *dnsCheck) compare(ctx context.Context, asked []inquiry) *reach.Fault {
	first := asked[0]
	for _, other := range asked[1:] {
		var f *reach.Fault
		switch {
		case other.err == nil && other.answer == nil:
			continue
		case other.err != nil:
			f = reach.FaultOf(ctx, checks.PhaseResponse, "asking "+other.place.String(), other.err)
		case sameAnswer(first.answer, other.answer, c.question.Qtype) == c.target.BoolOption("differ"):
			f = reach.Fail(checks.Assertion, checks.PhaseAssert, "%s is %s at %s, %s at %s", c.question.Name,
				summary(first.answer, c.question.Qtype), first.place, summary(other.answer, c.question.Qtype), other.place)
		default:
			continue
		}
		if f.Verdict == checks.Failed {
			f.Verdict = checks.Degraded
		}
		return f
	}
	return nil
}

// sameAnswer compares codes and records, in any order.
func sameAnswer(a, b *dns.Msg, kind uint16) bool {
	values := func(m *dns.Msg) []string {
		list := valuesOf(m, kind)
		for i := range list {
			list[i] = strings.ToLower(strings.TrimSuffix(list[i], "."))
		}
		slices.Sort(list)
		return list
	}
	return a.Rcode == b.Rcode && slices.Equal(values(a), values(b))
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
