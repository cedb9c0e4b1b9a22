package uplink

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Limits of one exchange.
const (
	dialTime    = 10 * time.Second
	answerTime  = 30 * time.Second // from the end of the request to the head of the answer
	requestTime = 2 * time.Minute  // all of it; a MiB over a thin line
	maxAnswer   = 1 << 20          // bytes
	gzipFrom    = 1 << 10          // bytes; shorter messages go as they are
)

// transport posts to the collector.
type transport struct {
	client *http.Client
	heard  func(off, fine time.Duration) // see Options.Clock
}

// newTransport makes a client that goes through proxy, or directly: the proxy
// variables of the environment are nobody's decision in a service. Redirects
// are not followed, a collector makes none.
func newTransport(t *tls.Config, proxy string) (*transport, error) {
	rt := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:        t,
		TLSHandshakeTimeout:    dialTime,
		ResponseHeaderTimeout:  answerTime,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    2,
		MaxConnsPerHost:        4,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1: half the cost at the centre, no half-open streams
		OnProxyConnectResponse: judgeProxy,
	}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, &Trouble{Kind: Proxy, Text: "proxy: it is not http://HOST:PORT", Advice: "proxy in /etc/ginnel/ginnel.toml"}
		}
		rt.Proxy = http.ProxyURL(u)
	}
	return &transport{client: &http.Client{
		Transport:     rt,
		Timeout:       requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// renew makes the next request open a new connection, and so show a new
// certificate.
func (t *transport) renew() { t.client.CloseIdleConnections() }

// post sends body to base+path and gives back the answer of the collector,
// whose content type must be want. Whatever else happens is a *Trouble.
func (t *transport) post(ctx context.Context, base, path string, head http.Header, body []byte, want string) ([]byte, error) {
	u, err := url.JoinPath(base, path)
	if err != nil {
		return nil, fmt.Errorf("the collector's URL: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the collector's URL: %w", err)
	}
	r.Header = head
	began := time.Now()
	resp, err := t.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unreached(r.URL.Host, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, unreached(r.URL.Host, fmt.Errorf("the answer was cut off: %w", err))
	}
	err = judge(resp, answer, want)
	if err == nil && t.heard != nil {
		t.compare(resp.Header.Get("Date"), began)
	}
	return answer, err
}

// compare tells how far our clock is from the collector's, which stamps its
// answers with whole seconds.
func (t *transport) compare(date string, began time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return
	}
	trip := time.Since(began)
	t.heard(began.Add(trip/2).Sub(theirs.Add(time.Second/2)), time.Second/2+trip/2)
}

// squeeze compresses a message where that is worth it, and says so in head.
func squeeze(head http.Header, body []byte) ([]byte, error) {
	if len(body) < gzipFrom {
		return body, nil
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(body)
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("compress a message: %w", err)
	}
	head.Set("Content-Encoding", "gzip")
	return out.Bytes(), nil
}
