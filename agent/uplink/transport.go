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
	"sync"
	"sync/atomic"
	"time"
)

// Limits of one exchange.
const (
	dialTime    = 10 * time.Second
	answerTime  = 30 * time.Second // from the end of the request to the head of the answer
	requestTime = 2 * time.Minute  // all of it; a MiB over a thin line
	maxAnswer   = 1 << 20          // bytes; see maxOffer
	gzipFrom    = 1 << 10          // bytes; shorter messages go as they are
)

// transport posts to the collector. Its connections are of one generation,
// until fresh begins the next.
type transport struct {
	heard func(off, fine time.Duration) // see Options.Clock
	doubt func(error) bool              // see Identity.Doubt; nil: never
	off   atomic.Int64                  // of our clock, in nanoseconds, as it was compared last; above 0: ahead

	mu  sync.Mutex // guards the following
	now generation
}

// generation is the connections that were opened between two calls of fresh.
type generation struct {
	client *http.Client
	ctx    context.Context // ends with it
	end    context.CancelCauseFunc
}

// errFresh is why an exchange was cut off that a call of fresh found on its way.
var errFresh = errors.New("the way to the collector is opened anew")

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
	return &transport{now: newGeneration(rt)}, nil
}

func newGeneration(rt *http.Transport) generation {
	ctx, end := context.WithCancelCause(context.Background())
	return generation{&http.Client{
		Transport:     rt,
		Timeout:       requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, ctx, end}
}

// renew makes the next request open a new connection, and so show a new
// certificate.
func (t *transport) renew() { t.current().client.CloseIdleConnections() }

// fresh cuts off what is on its way, and gives every later request a connection
// that is opened after this call.
func (t *transport) fresh() {
	t.mu.Lock()
	old := t.now
	t.now = newGeneration(old.client.Transport.(*http.Transport).Clone())
	t.mu.Unlock()
	old.end(errFresh)
	old.client.CloseIdleConnections()
}

func (t *transport) current() generation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// want is what an answer must be.
type want struct {
	kind string // of content
	most int    // bytes
}

// post sends body to base+path and gives back the answer of the collector,
// which must be as wanted. Whatever else happens is a *Trouble, or errFresh.
func (t *transport) post(ctx context.Context, base, path string, head http.Header, body []byte, w want) ([]byte, error) {
	now := t.current()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(now.ctx, func() { cancel(errFresh) })()
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
	resp, err := now.client.Do(r)
	if err != nil && t.doubt != nil && t.doubt(err) {
		r.Body, _ = r.GetBody() // of a bytes.Reader, which is always there
		resp, err = now.client.Do(r)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unreached(r.URL.Host, err)
	}
	defer resp.Body.Close()
	answer, err := w.read(resp)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, unreached(r.URL.Host, fmt.Errorf("the answer was cut off: %w", err))
	}
	err = judge(resp, answer, w)
	if err == nil {
		t.compare(resp.Header.Get("Date"), began)
	}
	return answer, err
}

// read reads an answer. Of one that is too long a byte more than the most, or
// none, if it says so itself.
func (w want) read(r *http.Response) ([]byte, error) {
	most := w.most
	if r.StatusCode != http.StatusOK {
		most = maxAnswer
	}
	if r.ContentLength > int64(most) {
		return nil, nil
	}
	return io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
}

// compare tells how far our clock is from the collector's, which stamps its
// answers with whole seconds.
func (t *transport) compare(date string, began time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return
	}
	trip := time.Since(began)
	off := began.Add(trip / 2).Sub(theirs.Add(time.Second / 2))
	t.off.Store(int64(off))
	if t.heard != nil {
		t.heard(off, time.Second/2+trip/2)
	}
}

// clock is our clock, set right by the collector's.
func (t *transport) clock() time.Time { return time.Now().Add(-time.Duration(t.off.Load())) }

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
