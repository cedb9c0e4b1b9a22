package builtin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// HTTP is the kind that makes one request. Its RTT is from the end of the
// request to the first byte of the answer, without name, connection and TLS;
// those are in the detail.
func HTTP() checks.Kind {
	return checks.Kind{
		Name:   "http",
		Doc:    "makes one request of an http:// or https:// URL and looks at the answer",
		Schema: httpSchema(),
		New:    newHTTP,
	}
}

func httpSchema() checks.Schema {
	s := reach.TrustOptions()
	maps.Copy(s, checks.Schema{
		"method":         {Type: "string", Doc: "the request's method", Default: "GET", Enum: []string{"GET", "HEAD", "OPTIONS"}},
		"protocol":       {Type: "string", Doc: "what to speak; any: HTTP/2 where an https server has it", Default: "any", Enum: []string{"any", "1.1", "2"}},
		"status":         {Type: "strings", Doc: `the statuses that are good, as "200" or "2xx"`, Default: []string{"2xx"}},
		"header":         {Type: "strings", Doc: `what headers of the answer must contain, as "Content-Type: json"`},
		"body":           {Type: "string", Doc: "what the body must contain; not given: anything"},
		"body_match":     {Type: "string", Doc: "a regular expression (RE2) that must match in the body; not given: anything"},
		"body_limit":     {Type: "int", Doc: "read no more of the body, bytes", Default: 65536, Min: new(0.0), Max: new(float64(4 << 20))},
		"request_header": {Type: "strings", Doc: `headers to send, as "Accept: application/json"; no secrets: everyone may read them`},
		"redirects":      {Type: "int", Doc: "redirects to follow", Default: 0, Min: new(0.0), Max: new(10.0)},
		"keep_alive":     {Type: "bool", Doc: "keep the connection for the next run", Default: false},
	})
	return s
}

type httpCheck struct {
	target    checks.Target
	url       *url.URL
	send      http.Header
	want      [][2]string    // header name, text
	match     *regexp.Regexp // of the body; nil: none
	client    *http.Client
	transport *http.Transport
}

func newHTTP(t checks.Target) (checks.Check, error) {
	u, err := url.Parse(t.Address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("target %q is not a URL with http:// or https:// and a host", t.Address)
	}
	if u.User != nil {
		return nil, errors.New("the target's URL holds a user name or password, which everyone could read")
	}
	if _, err := placeOf(u.Host, u.Scheme); err != nil {
		return nil, err
	}
	for _, s := range t.StringsOption("status") {
		if !isStatus(s) {
			return nil, &checks.OptionError{Option: "status", Err: fmt.Errorf("%q is not a status", s), Hint: `"200" or "2xx"`}
		}
	}
	c := &httpCheck{target: t, url: u, send: http.Header{}}
	if c.want, err = headersOf(t, "header"); err != nil {
		return nil, err
	}
	send, err := headersOf(t, "request_header")
	if err != nil {
		return nil, err
	}
	if c.match, err = regexp.Compile(t.StringOption("body_match")); err != nil {
		return nil, &checks.OptionError{Option: "body_match", Err: err, Hint: "RE2, as in grep -E; a backslash is written twice between double quotes"}
	}
	if t.StringOption("protocol") == "2" && u.Scheme == "http" {
		return nil, &checks.OptionError{Option: "protocol", Err: errors.New("HTTP/2 is agreed on within TLS"), Hint: "an https:// URL"}
	}
	c.send.Set("User-Agent", "ginnel")
	for _, h := range send {
		c.send.Set(h[0], h[1])
	}
	return c, c.prepare()
}

// prepare makes a client of the check's own: another check's connections tell
// nothing about this one.
func (c *httpCheck) prepare() error {
	trust, err := reach.TrustOf(c.target, "")
	if err != nil {
		return err
	}
	c.transport = &http.Transport{
		DialContext:            c.dial,
		DisableKeepAlives:      !c.target.BoolOption("keep_alive"),
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        2 * time.Minute,
		TLSClientConfig:        trust.Config(),
		Protocols:              protocols(c.target.StringOption("protocol")),
	}
	most := c.target.IntOption("redirects")
	c.client = &http.Client{Transport: c.transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) > most {
			return http.ErrUseLastResponse
		}
		if why := checks.MayAsk(next.Context(), next.URL.String()); why != "" {
			if steps, ok := next.Context().Value(stepsKey{}).(*steps); ok {
				steps.stay(why)
			}
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return nil
}

func protocols(option string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(option != "2")
	p.SetHTTP2(option != "1.1")
	return p
}

func placeOf(host, scheme string) (reach.Place, error) {
	usual := uint16(80)
	if scheme == "https" {
		usual = 443
	}
	return reach.ParsePlace(host, usual)
}

// dial is the transport's: from the right address, one try.
func (c *httpCheck) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p, err := reach.ParsePlace(address, 0)
	if err != nil {
		return nil, reach.Fail(checks.Protocol, checks.PhaseRequest, "%v", err) // a redirect to nonsense
	}
	conn, err := reach.Dial(ctx, c.target, "tcp", p)
	if err != nil {
		return nil, err
	}
	if steps, ok := ctx.Value(stepsKey{}).(*steps); ok {
		steps.connected(p.Host, conn)
	}
	return conn, nil
}

func (c *httpCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Stamps: checks.UserStamps}
	if c.transport.DisableKeepAlives {
		defer c.transport.CloseIdleConnections()
	}
	steps := &steps{phase: checks.PhaseConnect}
	ctx = context.WithValue(httptrace.WithClientTrace(ctx, steps.trace()), stepsKey{}, steps)
	request := (&http.Request{Method: c.target.StringOption("method"), URL: c.url, Host: c.url.Host, Header: c.send.Clone()}).WithContext(ctx)
	response, err := c.client.Do(request)
	if err != nil {
		r.Steps, r.Path = steps.done(false), steps.path
		return steps.told(reach.Asked(r, c.fault(ctx, steps.now(), err)))
	}
	defer response.Body.Close()
	body, cut, err := c.read(response)
	r.Steps, r.Path = steps.done(true), steps.path
	if err != nil {
		return steps.told(reach.Asked(r, c.fault(ctx, checks.PhaseResponse, err)))
	}
	r.Received, r.Detail = 1, response.Status+steps.String()
	r.Values = []checks.Value{{Name: "status", Number: float64(response.StatusCode), Unit: "1"}, {Name: "body", Number: float64(len(body)), Unit: "By"}}
	if t := response.TLS; t != nil && len(t.PeerCertificates) > 0 {
		r.Values = append(r.Values, certificateLeft(firstToEnd(t.PeerCertificates), r.Start))
	}
	if rtt, ok := steps.rtt(); ok {
		r.RTT = []time.Duration{rtt}
	}
	if f := c.judge(response, body, cut, steps.stays()); f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	return steps.told(r)
}

// read takes as much of the body as is wanted, and says whether there is more.
func (c *httpCheck) read(response *http.Response) (body []byte, cut bool, err error) {
	limit := c.target.IntOption("body_limit")
	body, err = io.ReadAll(io.LimitReader(response.Body, int64(limit)))
	return body, len(body) == limit, err
}

// fault finds what is behind the client's error.
func (c *httpCheck) fault(ctx context.Context, phase checks.Phase, err error) *reach.Fault {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which the target shows
	}
	if phase == checks.PhaseTLS {
		err = tlsError(err)
	}
	if strings.Contains(err.Error(), "readLoopPeekFailLocked") { // net/http has no other name for it
		return reach.Fail(checks.Protocol, checks.PhaseResponse, "asking %s: it speaks before it is asked", c.url.Host)
	}
	return reach.FaultOf(ctx, phase, "asking "+c.url.Host, reach.InWords(err))
}

// judge says what is wrong with an answer; nil: nothing. stays is why it was not
// gone on from there, where that would have been wanted.
func (c *httpCheck) judge(response *http.Response, body []byte, cut bool, stays string) *reach.Fault {
	if want := c.target.StringsOption("status"); !statusIn(response.StatusCode, want) {
		where := ""
		if to := response.Header.Get("Location"); to != "" {
			where = ", to " + to
		}
		if stays != "" {
			where += " (not followed: " + stays + ")"
		}
		return reach.Fail(checks.Assertion, checks.PhaseAssert, "status %d%s, not %s", response.StatusCode, where, strings.Join(want, ", "))
	}
	for _, h := range c.want {
		if got := strings.Join(response.Header.Values(h[0]), ", "); !strings.Contains(got, h[1]) {
			return reach.Fail(checks.Assertion, checks.PhaseAssert, "header %s is %q, without %q", h[0], got, h[1])
		}
	}
	seen := "the body"
	if cut {
		seen = fmt.Sprintf("the first %d bytes of the body", len(body))
	}
	if want := c.target.StringOption("body"); !bytes.Contains(body, []byte(want)) {
		return reach.Fail(checks.Assertion, checks.PhaseAssert, "%q is not in %s", want, seen)
	}
	if !c.match.Match(body) {
		return reach.Fail(checks.Assertion, checks.PhaseAssert, "%q matches nothing in %s", c.match, seen)
	}
	return nil
}

func isStatus(s string) bool {
	if len(s) == 3 && s[1:] == "xx" {
		return s[0] >= '1' && s[0] <= '5'
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= 100 && n <= 599
}

func statusIn(code int, want []string) bool {
	for _, w := range want {
		if got := strconv.Itoa(code); w == got || w[1:] == "xx" && w[0] == got[0] {
			return true
		}
	}
	return false
}

func headersOf(t checks.Target, option string) (list [][2]string, err error) {
	for _, s := range t.StringsOption(option) {
		name, text, ok := strings.Cut(s, ":")
		if !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(s, "\r\n") {
			return nil, &checks.OptionError{Option: option, Err: fmt.Errorf("%q is not \"Name: text\"", s)}
		}
		list = append(list, [2]string{strings.TrimSpace(name), strings.TrimSpace(text)})
	}
	return list, nil
}
