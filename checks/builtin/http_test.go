package builtin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

func pages() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		fmt.Fprintf(w, "status up, %s, from %s", strings.Repeat("x", 100), r.Header.Get("Accept"))
	})
	mux.HandleFunc("/missing", http.NotFound)
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/further", http.StatusFound) })
	mux.HandleFunc("/further", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/nonsense", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://[::1%25x]:99999/")
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	return mux
}

func TestHTTPSuite(t *testing.T) {
	server := httptest.NewServer(pages())
	defer server.Close()
	checktest.Run(t, checktest.Subject{
		Kind: HTTP(), Timed: true,
		Good:     checks.Target{Address: server.URL + "/good"},
		Refusing: &checks.Target{Address: "http://" + nobody(t)},
		Silent:   &checks.Target{Address: "http://" + serve(t, "127.0.0.1:0", mute)},
	})
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(pages())
	defer server.Close()
	strs := func(s ...any) []any { return s }
	for _, test := range []struct {
		path    string
		options map[string]any
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		detail  string
	}{
		{"/good", nil, checks.OK, "", "", "200 OK; name "},
		{"/good", map[string]any{"method": "HEAD"}, checks.OK, "", "", ""},
		{"/good", map[string]any{"header": strs("content-type: fhir+json"), "body": "status up"}, checks.OK, "", "", ""},
		{"/good", map[string]any{"request_header": strs("Accept: text/x-test"), "body": "from text/x-test"}, checks.OK, "", "", ""},
		{"/good", map[string]any{"header": strs("Content-Type: xml")}, checks.Failed, checks.Assertion, checks.PhaseAssert,
			`header Content-Type is "application/fhir+json", without "xml"`},
		{"/good", map[string]any{"body": "status down"}, checks.Failed, checks.Assertion, checks.PhaseAssert, `"status down" is not in the body`},
		{"/good", map[string]any{"body": "xx, from", "body_limit": int64(20)}, checks.Failed, checks.Assertion, checks.PhaseAssert, `is not in the first 20 bytes of the body`},
		{"/good", map[string]any{"body_match": `status (up|ok)`}, checks.OK, "", "", ""},
		{"/good", map[string]any{"body_match": `status \d+`}, checks.Failed, checks.Assertion, checks.PhaseAssert, `"status \\d+" matches nothing in the body`},
		{"/endless", map[string]any{"body_limit": int64(10000)}, checks.OK, "", "", ""},
		{"/missing", nil, checks.Failed, checks.Assertion, checks.PhaseAssert, "status 404, not 2xx"},
		{"/missing", map[string]any{"status": strs("200", "404")}, checks.OK, "", "", ""},
		{"/away", nil, checks.Failed, checks.Assertion, checks.PhaseAssert, "status 302, to /further, not 2xx"},
		{"/away", map[string]any{"redirects": int64(1)}, checks.Failed, checks.Assertion, checks.PhaseAssert, "status 302, to /good, not 2xx"},
		{"/away", map[string]any{"redirects": int64(2)}, checks.OK, "", "", ""},
		{"/nonsense", map[string]any{"redirects": int64(1)}, checks.Failed, checks.Protocol, checks.PhaseRequest, "99999"},
		{"/cut", nil, checks.Failed, checks.Protocol, checks.PhaseResponse, "closed by the other side"},
	} {
		t.Run(test.path+fmt.Sprint(test.options), func(t *testing.T) {
			r := check(t, HTTP(), checks.Target{Address: server.URL + test.path, Options: test.options})
			expect(t, r, test.verdict, test.reason, test.phase)
			if !strings.Contains(r.Detail, test.detail) {
				t.Errorf("detail %q is without %q", r.Detail, test.detail)
			}
		})
	}
}

// A redirect leads nowhere that the manners of the gateway forbid.
func TestHTTPRedirectsKeepManners(t *testing.T) {
	var asked atomic.Int32
	hl7 := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer hl7.Close()
	listener := hl7.URL + "/"
	server := httptest.NewServer(http.RedirectHandler(listener, http.StatusFound))
	defer server.Close()
	kinds, err := checks.NewRegistry(HTTP())
	if err != nil {
		t.Fatal(err)
	}
	r := checks.NewRunner(checks.RunnerOptions{Registry: kinds})
	defer r.Close()
	s := checks.Spec{Name: "a", Kind: "http", Target: checks.Target{Address: server.URL, Options: map[string]any{"redirects": 3}}}
	expect(t, r.RunOnce(t.Context(), s), checks.OK, "", "")
	r.Behave(checks.Manners{MLLP: []string{strings.TrimPrefix(hl7.URL, "http://")}})
	got := r.RunOnce(t.Context(), s)
	expect(t, got, checks.Failed, checks.Assertion, checks.PhaseAssert)
	if want := fmt.Sprintf("status 302, to %s (not followed: %s is a listener of HL7: it is connected to, and sent nothing), not 2xx", listener, listener); got.Detail != want || asked.Load() != 1 {
		t.Errorf("asked %d times, detail %q, want %q", asked.Load(), got.Detail, want)
	}
}

func TestHTTPWhereItFails(t *testing.T) {
	plain := httptest.NewServer(pages())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(pages())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for _, test := range []struct {
		name, url string
		options   map[string]any
		timeout   time.Duration
		verdict   checks.Verdict
		reason    checks.Reason
		phase     checks.Phase
	}{
		{"refused", "http://" + nobody(t), nil, 0, checks.Failed, checks.Refused, checks.PhaseConnect},
		{"no way", "http://" + noWay, nil, 0, checks.Failed, checks.Unreachable, checks.PhaseRoute},
		{"does not connect", "http://" + silentHost, nil, short, checks.Failed, checks.Timeout, checks.PhaseConnect},
		{"no name", "http://avocet.invalid", nil, short, checks.Failed, checks.NotResolved, checks.PhaseResolve},
		{"does not answer", "http://" + serve(t, "127.0.0.1:0", mute), nil, short, checks.Failed, checks.Timeout, checks.PhaseResponse},
		{"no TLS hello", "https://" + serve(t, "127.0.0.1:0", mute), nil, short, checks.Failed, checks.Timeout, checks.PhaseTLS},
		{"not trusted", secure.URL + "/good", nil, 0, checks.Failed, checks.Certificate, checks.PhaseTLS},
		{"not verified", secure.URL + "/good", map[string]any{"verify": false}, 0, checks.OK, "", ""},
		{"no TLS there", "https://" + strings.TrimPrefix(plain.URL, "http://"), nil, 0, checks.Failed, checks.Protocol, checks.PhaseTLS},
		{"closes", "http://" + serve(t, "127.0.0.1:0", func(c net.Conn) { c.Read(make([]byte, 4096)) }), nil, 0, checks.Failed, checks.Protocol, checks.PhaseResponse},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := check(t, HTTP(), checks.Target{Address: test.url, Options: test.options, Timeout: test.timeout})
			expect(t, r, test.verdict, test.reason, test.phase)
		})
	}
}

// A server that greets, as one for mail, may do so before the request or after.
func TestHTTPOfAServerThatGreets(t *testing.T) {
	address := "http://" + serve(t, "127.0.0.1:0", func(c net.Conn) { c.Write([]byte("220 mail\r\n\r\n")); mute(c) })
	for range 50 {
		r := check(t, HTTP(), checks.Target{Address: address})
		expect(t, r, checks.Failed, checks.Protocol, checks.PhaseResponse)
		if strings.Contains(r.Detail, "%!") {
			t.Fatalf("detail is %q", r.Detail)
		}
	}
}

func TestHTTPTrustsGivenRoots(t *testing.T) {
	a := newAuthority(t)
	server := httptest.NewUnstartedServer(pages())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, -time.Hour, time.Hour)}}
	server.StartTLS()
	defer server.Close()
	r := check(t, HTTP(), checks.Target{Address: server.URL + "/good", Options: map[string]any{"roots": a.file, "server_name": "records.example.net"}})
	expect(t, r, checks.OK, "", "")
	if !strings.Contains(r.Detail, ", TLS ") || len(r.RTT) != 1 {
		t.Errorf("got %+v", r)
	}
}

// TestHTTPProtocols: HTTP/2 where the server has it and nobody says otherwise.
func TestHTTPProtocols(t *testing.T) {
	for _, test := range []struct {
		server  bool // has HTTP/2
		option  string
		verdict checks.Verdict
		speaks  string
	}{
		{true, "any", checks.OK, "TLS 1.3, h2"},
		{true, "1.1", checks.OK, "TLS 1.3"},
		{true, "2", checks.OK, "TLS 1.3, h2"},
		{false, "any", checks.OK, "TLS 1.3, http/1.1"},
		{false, "2", checks.Failed, ""},
	} {
		t.Run(fmt.Sprint(test.server, " ", test.option), func(t *testing.T) {
			server := httptest.NewUnstartedServer(pages())
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.EnableHTTP2 = test.server
			server.StartTLS()
			defer server.Close()
			r := check(t, HTTP(), checks.Target{Address: server.URL + "/good", Options: map[string]any{"protocol": test.option, "verify": false}})
			if r.Verdict != test.verdict || test.verdict == checks.Failed && r.Phase != checks.PhaseTLS {
				t.Fatalf("got %+v", r)
			}
			if test.verdict == checks.OK && stepOf(r, "tls") != test.speaks {
				t.Errorf("it speaks %q, want %q", stepOf(r, "tls"), test.speaks)
			}
		})
	}
}

// stepOf is what a run says of the step of a name.
func stepOf(r checks.Result, name string) string {
	for _, s := range r.Steps {
		if s.Name == name {
			return s.Detail
		}
	}
	return "(no step " + name + ")"
}

// TestHTTPSteps: what --explain prints, in order.
func TestHTTPSteps(t *testing.T) {
	server := httptest.NewServer(pages())
	defer server.Close()
	r := check(t, HTTP(), checks.Target{Address: server.URL + "/good"})
	var names []string
	for _, s := range r.Steps {
		names = append(names, strings.Fields(s.Name)[0])
	}
	if want := []string{"resolve", "connect", "answer", "body"}; !slices.Equal(names, want) || r.Path != "lo" {
		t.Errorf("steps %q by %q, want %q by lo", names, r.Path, want)
	}
}

// TestHTTPEndlessHead: neither headers nor informational answers without an end
// keep a run.
func TestHTTPEndlessHead(t *testing.T) {
	for name, line := range map[string]string{"headers": "X-More: and more\r\n", "informational": "HTTP/1.1 103 Early Hints\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, "127.0.0.1:0", func(c net.Conn) {
				c.Read(make([]byte, 4096))
				if name == "headers" {
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
				}
				for {
					if _, err := fmt.Fprint(c, strings.Repeat(line, 100)); err != nil {
						return
					}
				}
			})
			expect(t, check(t, HTTP(), checks.Target{Address: "http://" + address}), checks.Failed, checks.Protocol, checks.PhaseResponse)
		})
	}
}

func TestHTTPKeepAlive(t *testing.T) {
	for _, keep := range []bool{false, true} {
		var connections atomic.Int32
		server := httptest.NewUnstartedServer(pages())
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		c, err := HTTP().Make(checks.Target{Address: server.URL + "/good", Options: map[string]any{"keep_alive": keep}})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			expect(t, c.Run(t.Context()), checks.OK, "", "")
		}
		server.Close()
		want := int32(3)
		if keep {
			want = 1
		}
		if got := connections.Load(); got != want {
			t.Errorf("keep-alive %v: %d connections, want %d", keep, got, want)
		}
	}
}

func TestHTTPRefuses(t *testing.T) {
	for _, test := range []struct {
		url     string
		options map[string]any
		option  string
	}{
		{"http://user:secret@example.net", nil, ""},
		{"example.net", nil, ""},
		{"http://example.net", map[string]any{"status": []any{"20"}}, "status"},
		{"http://example.net", map[string]any{"status": []any{"6xx"}}, "status"},
		{"http://example.net", map[string]any{"header": []any{"Content-Type"}}, "header"},
		{"http://example.net", map[string]any{"request_header": []any{"A: b\r\nC: d"}}, "request_header"},
		{"http://example.net", map[string]any{"method": "DELETE"}, "method"},
		{"http://example.net", map[string]any{"body_match": "("}, "body_match"},
		{"http://example.net", map[string]any{"protocol": "2"}, "protocol"},
	} {
		_, err := HTTP().Make(checks.Target{Address: test.url, Options: test.options})
		e, _ := errors.AsType[*checks.OptionError](err)
		if err == nil || test.option != "" && (e == nil || e.Option != test.option) {
			t.Errorf("%s %v: got %v", test.url, test.options, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}
