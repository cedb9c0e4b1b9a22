// Package fhir asks a FHIR server for its CapabilityStatement (GET [base]/metadata,
// FHIR R4 3.1.0.9): the one thing that every server tells without a login, and
// that says nothing of any patient.
package fhir

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// bodyMost is how much of an answer is read, in bytes; a whole statement of a
// large server has about 1 MB.
const bodyMost = 2 << 20

// Kind is the kind "fhir".
func Kind() checks.Kind {
	schema := reach.TrustOptions()
	schema["version"] = checks.Option{Type: "string", Doc: `what fhirVersion begins with, as "4.0"; not given: any`}
	return checks.Kind{
		Name:   "fhir",
		Doc:    "asks a FHIR server, by the http:// or https:// URL of its base, what it can do; its owner's written agreement comes first",
		Schema: schema,
		Least:  15 * time.Minute, // some servers compute their statement anew each time
		New:    newCheck,

		NeedsAgreement: true,
	}
}

func newCheck(t checks.Target) (checks.Check, error) {
	base, err := url.Parse(t.Address)
	switch {
	case err != nil, base.Host == "", base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("target %q is not the http:// or https:// URL of a FHIR base", t.Address)
	case base.User != nil:
		return nil, errors.New("target: a URL with a login; everyone may read the config, and /metadata needs none")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("target %q: a FHIR base has neither ? nor #", t.Address)
	}
	if base.Path == "" {
		base.Path = "/" // else what is joined to it is no path
	}
	usual := map[string]uint16{"http": 80, "https": 443}[base.Scheme]
	place, err := reach.ParsePlace(base.Host, usual)
	if err != nil {
		return nil, err
	}
	trust, err := reach.TrustOf(t, place.Host)
	if err != nil {
		return nil, err
	}
	c := &check{target: t, place: place, url: base.JoinPath("metadata")}
	c.url.RawQuery = "_summary=true"
	c.transport = &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        trust.Config(),
		DisableKeepAlives:      true,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return c, nil
}

// check is one check.
type check struct {
	target    checks.Target
	place     reach.Place
	url       *url.URL
	transport *http.Transport
	before    statement // of the last good run; zero: none
}

type traceKey struct{}

// dial is the transport's: from the right address, one try.
func (c *check) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := reach.Dial(ctx, c.target, "tcp", c.place)
	if err != nil {
		return nil, err
	}
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		t.connected(conn)
	}
	return conn, nil
}

func (c *check) request(ctx context.Context) *http.Request {
	return (&http.Request{Method: http.MethodGet, URL: c.url, Host: c.url.Host, Header: http.Header{
		"Accept":     {"application/fhir+json"},
		"User-Agent": {"ginnel-check-clinical"},
	}}).WithContext(ctx)
}

// Run implements checks.Check.
func (c *check) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Stamps: checks.UserStamps}
	t := newTrace()
	answer, body, err := c.fetch(t.follow(ctx))
	r.Steps = t.steps()
	if err != nil {
		return reach.Asked(r, c.fault(ctx, t.now(), err))
	}
	if rtt, ok := t.rtt(); ok {
		r.RTT = []time.Duration{rtt}
	}
	r.Received = 1
	got, f := judge(answer, body, c.target.StringOption("version"))
	if f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
		return r
	}
	if got == (statement{}) { // it wants a login first
		r.Detail = fmt.Sprintf("reached: it wants a login (%s)", strings.TrimSpace(answer.Status))
		return r
	}
	c.remember(&r, got)
	return r
}
