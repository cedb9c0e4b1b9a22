package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kind is what sort of thing stands between a gateway and its collector.
type Kind string

const (
	Unreachable Kind = "unreachable" // no connection, or none that lasted
	NoName      Kind = "no name"     // the collector's name has no address
	Proxy       Kind = "proxy"       // the proxy refused, or is set wrongly
	Foreign     Kind = "foreign"     // somebody else's certificate
	Clock       Kind = "clock"       // the collector's certificate is not valid by our clock
	Page        Kind = "page"        // a web page or a redirect came instead
	Refused     Kind = "refused"     // the collector said no, and will again
	Busy        Kind = "busy"        // the collector asked to come later
	Broken      Kind = "broken"      // the collector has a fault, or talks nonsense
)

// Trouble is why an exchange with the collector failed, in words for people.
type Trouble struct {
	Kind   Kind
	Code   string        // the collector's own word for it; empty: none
	Text   string        // one line
	Advice string        // what to do next; empty: nothing
	After  time.Duration // the collector's wish for the next try; 0: none
	Err    error
}

func (t *Trouble) Error() string { return t.Text }
func (t *Trouble) Unwrap() error { return t.Err }

// Hint is what to do next.
func (t *Trouble) Hint() string { return t.Advice }

func kindOf(err error) Kind {
	if t, ok := errors.AsType[*Trouble](err); ok {
		return t.Kind
	}
	return ""
}

// codeOf is the collector's own word for what is wrong; empty: none.
func codeOf(err error) string {
	if t, ok := errors.AsType[*Trouble](err); ok {
		return t.Code
	}
	return ""
}

// unreached says why there was no answer.
func unreached(host string, err error) *Trouble {
	t := &Trouble{Kind: Unreachable, Err: err}
	if own, ok := errors.AsType[*Trouble](err); ok { // of the proxy
		return own
	}
	dns, noName := errors.AsType[*net.DNSError](err)
	_, unknownCA := errors.AsType[x509.UnknownAuthorityError](err)
	wrongName, isWrongName := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	alert, isAlert := errors.AsType[tls.AlertError](err)
	switch {
	case noName:
		t.Kind, t.Text = NoName, fmt.Sprintf("the name %s has no address: %s", dns.Name, dns.Err)
		t.Advice = "is the site's resolver well?"
	case unknownCA:
		t.Kind, t.Text = Foreign, host+" shows a certificate of a foreign CA, not the one of the site pack"+shown(err)
		t.Advice = "either something on the way opens TLS (it must let this host through), or the site pack is of another collector"
	case isWrongName:
		t.Kind, t.Text = Foreign, fmt.Sprintf("%s shows a certificate for another name (%s)", host, strings.Join(wrongName.Certificate.DNSNames, ", "))
		t.Advice = "is this the collector's address?"
	case isInvalid && invalid.Reason == x509.Expired:
		t.Kind, t.Text = Clock, fmt.Sprintf("the certificate of %s is not valid at %s, by this host's clock", host, time.Now().UTC().Format("15:04 on 2 Jan 2006 MST"))
		t.Advice = "is this host's clock right?"
	case isInvalid:
		t.Kind, t.Text = Foreign, fmt.Sprintf("the certificate of %s cannot be accepted: %v", host, invalid)
	case noTLS || errors.Is(err, http.ErrSchemeMismatch):
		t.Kind, t.Text = Page, host+" answers without TLS: a login or block page stands between"
		t.Advice = "open any page in a browser at the site and see who answers"
	case isAlert:
		t.Kind, t.Text = Refused, fmt.Sprintf("%s refused our certificate: %v", host, alert)
		t.Advice = "enrol anew with a new site pack"
	default:
		t.Text = host + " cannot be reached: " + plain(err)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			t.Advice = "is the site's line well, and is TCP to " + host + " let out?"
		}
	}
	return t
}

// shown names the issuer of the certificate that was shown.
func shown(err error) string {
	v, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(v.UnverifiedCertificates) == 0 {
		return ""
	}
	return fmt.Sprintf(" (it is by %q)", v.UnverifiedCertificates[0].Issuer.String())
}

// plain is the last link of a network error's chain, which says it best.
func plain(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was cut"
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return "no answer in time"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error() // "no route to host"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return strings.TrimPrefix(err.Error(), "net/http: ")
}

// judgeProxy is called with the proxy's answer to CONNECT.
func judgeProxy(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
	switch {
	case r.StatusCode == http.StatusOK:
		return nil
	case r.StatusCode == http.StatusProxyAuthRequired:
		text := " wants a user and a password"
		if proxy.User != nil {
			text = " does not take our user and password"
		}
		return &Trouble{Kind: Proxy, Text: "the proxy " + proxy.Host + text,
			Advice: "proxy in /etc/ginnel/ginnel.toml takes http://USER:PASSWORD@HOST:PORT"}
	}
	return &Trouble{Kind: Proxy, Text: fmt.Sprintf("the proxy %s refuses to connect us: %s", proxy.Host, r.Status),
		Advice: "the proxy's owner must allow CONNECT to the collector"}
}

// judge says what is wrong with an answer; nil: it is the collector's yes.
func judge(r *http.Response, body []byte, w want) error {
	host := r.Request.URL.Host
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var said struct{ Code, Error, Hint string }
	ours := kind == "application/json" && json.Unmarshal(body, &said) == nil && said.Error != ""
	t := &Trouble{Code: said.Code, Advice: said.Hint, After: after(r.Header.Get("Retry-After"))}
	page := kind == "text/html" || bytes.HasPrefix(bytes.ToLower(bytes.TrimSpace(body)), []byte("<!doctype html"))
	switch s := r.StatusCode; {
	case s == http.StatusOK && kind == w.kind && len(body) <= w.most && r.ContentLength <= int64(w.most):
		return nil
	case s >= 300 && s < 400:
		t.Kind, t.Text = Page, fmt.Sprintf("%s answers with a redirect to %s, which a collector never does: a login page stands between", host, place(r))
	case s == http.StatusOK && page:
		t.Kind, t.Text = Page, host+" answers with a web page: a login or block page stands between"
	case s == http.StatusOK && (len(body) > w.most || r.ContentLength > int64(w.most)):
		t.Kind, t.Text = Broken, fmt.Sprintf("%s answers with over %d bytes", host, w.most)
	case s == http.StatusOK:
		t.Kind, t.Text = Broken, fmt.Sprintf("%s answers with %q instead of %q", host, kind, w.kind)
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		t.Kind, t.Text = Busy, fmt.Sprintf("%s asks to come later (%d)", host, s)
	case ours && s < 500:
		t.Kind, t.Text = Refused, fmt.Sprintf("the collector refused (%d): %s", s, said.Error)
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		t.Kind, t.Text = Refused, fmt.Sprintf("%s answers %s, in words that are not the collector's", host, r.Status)
		t.Advice = "something between us and the collector wants a login, or forbids it"
	case ours:
		t.Kind, t.Text = Broken, fmt.Sprintf("the collector has a fault (%d): %s", s, said.Error)
	default:
		t.Kind, t.Text = Broken, fmt.Sprintf("%s answers %s", host, r.Status)
	}
	return t
}

// place is the host that a redirect leads to; the rest may hold session keys.
func place(r *http.Response) string {
	if u, err := r.Location(); err == nil {
		return u.Host
	}
	return "nowhere"
}

// maxAfter bounds how long a collector can silence a gateway.
const maxAfter = 10 * time.Minute

// after reads Retry-After in seconds or as a date; 0: none.
func after(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return min(maxAfter, time.Duration(n)*time.Second)
	}
	if t, err := http.ParseTime(text); err == nil {
		return min(maxAfter, max(0, time.Until(t)))
	}
	return 0
}
