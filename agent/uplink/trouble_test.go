package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// post sends a message to a server that answers as h does.
func post(t *testing.T, h http.HandlerFunc) ([]byte, error) {
	t.Helper()
	s := quiet(httptest.NewUnstartedServer(h))
	s.StartTLS()
	defer s.Close()
	tr, err := newTransport(trusting(s), "")
	if err != nil {
		t.Fatal(err)
	}
	defer tr.renew()
	body, err := tr.post(t.Context(), s.URL, "/v1/x", http.Header{}, []byte("x"), want{"application/json", maxAnswer})
	if err == nil {
		return body, nil
	}
	// The port is another one each time.
	if trouble, ok := errors.AsType[*Trouble](err); ok {
		trouble.Text = strings.ReplaceAll(trouble.Text, strings.TrimPrefix(s.URL, "https://"), "COLLECTOR")
	}
	return body, err
}

func quiet(s *httptest.Server) *httptest.Server {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

func trusting(s *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func TestAnswersAreToldApart(t *testing.T) {
	answer := func(status int, kind, body string, more ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			for i := 0; i < len(more); i += 2 {
				w.Header().Set(more[i], more[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	const said = `{"code":"token_used","error":"the token was used already","hint":"ask for another"}`
	tests := []struct {
		name  string
		h     http.HandlerFunc
		kind  Kind
		text  string
		hint  string
		after time.Duration
	}{
		{"yes", answer(200, "application/json", "{}"), "", "", "", 0},
		{"yes, with a character set", answer(200, "application/json; charset=utf-8", "{}"), "", "", "", 0},
		{"a login page", answer(200, "text/html", "<html>Please log in"), Page, "COLLECTOR answers with a web page: a login or block page stands between", "", 0},
		{"a login page under a false name", answer(200, "application/octet-stream", " <!DOCTYPE html>"), Page, "COLLECTOR answers with a web page: a login or block page stands between", "", 0},
		{"a redirect", answer(302, "text/html", "", "Location", "https://login.example.net/?key=secret"), Page,
			"COLLECTOR answers with a redirect to login.example.net, which a collector never does: a login page stands between", "", 0},
		{"a refusal of the collector", answer(401, "application/json", said), Refused, "the collector refused (401): the token was used already", "ask for another", 0},
		{"a refusal of somebody else", answer(401, "text/html", "who are you?"), Refused, "COLLECTOR answers 401 Unauthorized, in words that are not the collector's",
			"something between us and the collector wants a login, or forbids it", 0},
		{"forbidden by somebody else", answer(403, "text/plain", "no"), Refused, "COLLECTOR answers 403 Forbidden, in words that are not the collector's",
			"something between us and the collector wants a login, or forbids it", 0},
		{"busy", answer(503, "text/plain", "", "Retry-After", "7"), Busy, "COLLECTOR asks to come later (503)", "", 7 * time.Second},
		{"very busy", answer(429, "text/plain", "", "Retry-After", "999999"), Busy, "COLLECTOR asks to come later (429)", "", maxAfter},
		{"a fault", answer(500, "application/json", `{"error":"disk full"}`), Broken, "the collector has a fault (500): disk full", "", 0},
		{"a gateway's fault", answer(502, "text/html", "<html>"), Broken, "COLLECTOR answers 502 Bad Gateway", "", 0},
		{"another language", answer(200, "text/plain", "hello"), Broken, `COLLECTOR answers with "text/plain" instead of "application/json"`, "", 0},
		{"without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.Copy(w, io.LimitReader(zeros{}, 8<<20))
		}, Broken, fmt.Sprintf("COLLECTOR answers with over %d bytes", maxAnswer), "", 0},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, Unreachable, "COLLECTOR cannot be reached: the answer was cut off: unexpected EOF", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := post(t, tt.h)
			if tt.kind == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			got, ok := errors.AsType[*Trouble](err)
			if !ok {
				t.Fatalf("got %v, no trouble", err)
			}
			if got.Kind != tt.kind || got.Text != tt.text || got.Hint() != tt.hint || got.After != tt.after {
				t.Errorf("got  %s: %s\n     hint %q, after %v\nwant %s: %s\n     hint %q, after %v",
					got.Kind, got.Text, got.Hint(), got.After, tt.kind, tt.text, tt.hint, tt.after)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// A redirect is reported, never followed: what we send is for one host.
func TestRedirectIsNotFollowed(t *testing.T) {
	asked := 0
	_, err := post(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/v1/y", http.StatusTemporaryRedirect)
	})
	if kindOf(err) != Page || asked != 1 {
		t.Errorf("%d requests, %v", asked, err)
	}
}

func TestWaysThatLeadNowhere(t *testing.T) {
	mine := quiet(httptest.NewUnstartedServer(http.NotFoundHandler()))
	mine.StartTLS()
	defer mine.Close()
	plain := quiet(httptest.NewUnstartedServer(http.NotFoundHandler()))
	plain.Start()
	defer plain.Close()
	dropping := listen(t, func(c net.Conn) { c.Close() })
	closed := listen(t, nil)
	closed.Close()
	other := trusting(mine)
	other.RootCAs = x509.NewCertPool()
	late := trusting(mine)
	late.Time = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
	proxy := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	tests := []struct {
		name, url, proxy string
		tls              *tls.Config
		kind             Kind
		text             string // what it begins with; HOST is the one that was called
	}{
		{"nobody listens", "https://" + closed.Addr().String(), "", nil, Unreachable, "HOST cannot be reached: connection refused"},
		{"accepted and dropped", "https://" + dropping.Addr().String(), "", nil, Unreachable, "HOST cannot be reached: "},
		{"no such name", "https://collector.invalid", "", nil, NoName, "the name collector.invalid has no address: "},
		{"foreign CA", mine.URL, "", other, Foreign, "HOST shows a certificate of a foreign CA, not the one of the site pack (it is by \"O=Acme Co\")"},
		{"other name", strings.Replace(mine.URL, "127.0.0.1", "localhost", 1), "", nil, Foreign, "HOST shows a certificate for another name (example.com, *.example.com)"},
		{"clock", mine.URL, "", late, Clock, "the certificate of HOST is not valid at "},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), "", nil, Page, "HOST answers without TLS: a login or block page stands between"},
		{"proxy with a login", mine.URL, proxy(407), nil, Proxy, "the proxy PROXY wants a user and a password"},
		{"proxy that forbids", mine.URL, proxy(403), nil, Proxy, "the proxy PROXY refuses to connect us: 403 Forbidden"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.tls == nil {
				tt.tls = trusting(mine)
			}
			tr, err := newTransport(tt.tls, tt.proxy)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tr.post(t.Context(), tt.url, "/v1/x", http.Header{}, nil, want{"application/json", maxAnswer})
			text := strings.NewReplacer("HOST", strings.TrimPrefix(tt.url, "https://"), "PROXY", strings.TrimPrefix(tt.proxy, "http://")).Replace(tt.text)
			if kindOf(err) != tt.kind || !strings.HasPrefix(err.Error(), text) {
				t.Errorf("got  %s: %v\nwant %s: %s", kindOf(err), err, tt.kind, text)
			}
		})
	}
}

// listen accepts connections and hands them to serve; nil: nobody accepts.
func listen(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if serve != nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
	}
	return l
}

// Through a CONNECT proxy, with its user and password, and not around it.
func TestThroughAProxy(t *testing.T) {
	s := quiet(httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `"hello"`)
	})))
	s.StartTLS()
	defer s.Close()
	var connects []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects = append(connects, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		out, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "https://"))
		if err != nil {
			t.Error(err)
			return
		}
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(out, in); out.Close() }()
		io.Copy(in, out)
		in.Close()
	}))
	defer proxy.Close()
	conf := trusting(s)
	conf.ServerName = "example.com"
	tr, err := newTransport(conf, strings.Replace(proxy.URL, "http://", "http://sam:pass@", 1))
	if err != nil {
		t.Fatal(err)
	}
	// A name that only the proxy can resolve.
	body, err := tr.post(t.Context(), "https://collector.invalid:8443", "/v1/x", http.Header{}, nil, want{"application/json", maxAnswer})
	tr.renew()
	if err != nil || string(body) != `"hello"` {
		t.Errorf("got %q, %v", body, err)
	}
	if want := "CONNECT collector.invalid:8443 Basic c2FtOnBhc3M="; len(connects) != 1 || connects[0] != want {
		t.Errorf("the proxy saw %q, want %q", connects, want)
	}
	if _, err := newTransport(nil, "proxy.example.net:3128"); kindOf(err) != Proxy {
		t.Errorf("a proxy without http:// gave %v", err)
	}
}

// What no connection could be made to is told without the layers of Go's network
// errors, and with what to look at.
func TestUnreachedIsToldPlainly(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EHOSTUNREACH: "collector.example.net cannot be reached: no route to host",
		syscall.ENETUNREACH:  "collector.example.net cannot be reached: network is unreachable",
		syscall.ECONNREFUSED: "collector.example.net cannot be reached: connection refused",
	} {
		got := unreached("collector.example.net", &url.Error{Op: "Post", URL: "https://collector.example.net/v1/opamp",
			Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}})
		if got.Text != want || got.Hint() != "is the site's line well, and is TCP to collector.example.net let out?" {
			t.Errorf("%v: %q, hint %q", errno, got.Text, got.Hint())
		}
	}
}
