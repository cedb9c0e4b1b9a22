package fhir

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

func once(t *testing.T, check checks.Check) checks.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := check.Run(ctx)
	if err := r.Valid(); err != nil {
		t.Errorf("%v: %+v", err, r)
	}
	return r
}

func prepare(t *testing.T, address string, options map[string]any) checks.Check {
	t.Helper()
	c, err := Kind().Make(checks.Target{Check: "records", Address: address, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSuite passes with a server that others wrote.
func TestSuite(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	checktest.Run(t, checktest.Subject{
		Kind:     Kind(),
		Good:     checks.Target{Address: nodeServer(t), Options: map[string]any{"version": "4.0"}},
		Timed:    true,
		Refusing: &checks.Target{Address: "http://" + closed.Addr().String()},
		Silent:   &checks.Target{Address: "http://" + mute.Addr().String()},
	})
}

func TestNodeServer(t *testing.T) {
	c := prepare(t, nodeServer(t), nil)
	first := once(t, c)
	if first.Verdict != checks.OK || !strings.HasPrefix(first.Detail, "FHIR Server 1.4.0, FHIR 4.0.0, statement ") {
		t.Fatalf("got %+v", first)
	}
	var names []string
	for _, s := range first.Steps {
		names = append(names, strings.Fields(s.Name)[0])
	}
	if want := []string{"resolve", "connect", "metadata"}; !slices.Equal(names, want) {
		t.Errorf("steps %q, want %q", names, want)
	}
	time.Sleep(1100 * time.Millisecond) // the statement carries the second of the answer
	if second := once(t, c); second.Detail != first.Detail {
		t.Errorf("the date alone makes it another statement: %q, then %q", first.Detail, second.Detail)
	}
}

const statementText = `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","date":"2026-11-22","software":{"name":"Records","version":"%s"}}`

// TestVerdicts goes through what a server can answer.
func TestVerdicts(t *testing.T) {
	good := fmt.Sprintf(statementText, "7")
	for _, c := range []struct {
		name    string
		code    int
		body    string
		header  [2]string
		version string
		verdict checks.Verdict
		reason  checks.Reason
		says    string
	}{
		{"good", 200, good, [2]string{}, "4.0", checks.OK, "", "Records 7, FHIR 4.0.1, statement "},
		{"older name", 200, `{"resourceType":"Conformance","fhirVersion":"1.0.2"}`, [2]string{}, "", checks.OK, "", "unnamed, FHIR 1.0.2"},
		{"wants a login", 401, "", [2]string{}, "", checks.OK, "", "reached: it wants a login (401 Unauthorized)"},
		{"forbidden", 403, "", [2]string{}, "", checks.OK, "", "403"},
		{"another version", 200, good, [2]string{}, "3.0", checks.Failed, checks.Assertion, "it speaks FHIR 4.0.1, not 3.0"},
		{"elsewhere", 302, "", [2]string{"Location", "https://records.example.net/r4"}, "", checks.Failed, checks.Assertion, `"https://records.example.net/r4"`},
		{"broken", 500, "", [2]string{}, "", checks.Failed, checks.Assertion, "status 500"},
		{"a page", 200, "<html>", [2]string{}, "", checks.Failed, checks.Protocol, "no JSON"},
		{"a patient", 200, `{"resourceType":"Patient"}`, [2]string{}, "", checks.Failed, checks.Protocol, `"Patient"`},
		{"endless", 200, strings.Repeat(" ", bodyMost+1), [2]string{}, "", checks.Failed, checks.Protocol, "more than 2097152 bytes"},
		{"endless head", 200, good, [2]string{"X-Long", strings.Repeat("x", 128<<10)}, "", checks.Failed, checks.Protocol, "headers of more than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.String() != "/r4/metadata?_summary=true" || r.Header.Get("Accept") != "application/fhir+json" {
					t.Errorf("asked for %s, accepting %q", r.URL, r.Header.Get("Accept"))
				}
				if c.header[0] != "" {
					w.Header().Set(c.header[0], c.header[1])
				}
				w.WriteHeader(c.code)
				w.Write([]byte(c.body))
			}))
			defer server.Close()
			r := once(t, prepare(t, server.URL+"/r4", map[string]any{"version": c.version}))
			if r.Verdict != c.verdict || r.Reason != c.reason || !strings.Contains(r.Detail, c.says) {
				t.Errorf("got %s, %q: %s", r.Verdict, r.Reason, r.Detail)
			}
		})
	}
}

// TestChange: an upgrade of the software is told once.
func TestChange(t *testing.T) {
	version := "7"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, statementText, version) }))
	defer server.Close()
	c := prepare(t, server.URL, nil)
	for _, want := range []string{"7 Records 7,", "8 changed: Records 8,", "8 Records 8,"} {
		var says string
		version, says, _ = strings.Cut(want, " ")
		if r := once(t, c); !strings.HasPrefix(r.Detail, says) {
			t.Errorf("got %q, want %q", r.Detail, says)
		}
	}
}

// TestTLS: whom the server is taken for.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, statementText, "7") }))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		options map[string]any
		verdict checks.Verdict
		reason  checks.Reason
	}{
		{"not trusted", nil, checks.Failed, checks.Certificate},
		{"trusted", map[string]any{"roots": roots}, checks.OK, ""},
		{"another name", map[string]any{"roots": roots, "server_name": "records.example.net"}, checks.Failed, checks.Certificate},
		{"not verified", map[string]any{"verify": false}, checks.OK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := once(t, prepare(t, server.URL, c.options)); r.Verdict != c.verdict || r.Reason != c.reason {
				t.Errorf("got %s, %q: %s", r.Verdict, r.Reason, r.Detail)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	for _, address := range []string{"", "records.example.net", "ftp://records.example.net", "https://me:secret@records.example.net", "https://records.example.net/r4?x=1"} {
		if _, err := Kind().Make(checks.Target{Address: address}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	_, err := Kind().Make(checks.Target{Address: "https://records.example.net/r4", Options: map[string]any{"roots": "/nowhere.pem"}})
	if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != "roots" {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: whatever a server answers is taken for a statement or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(statementText, "7")))
	f.Add([]byte(`{"resourceType":"Conformance","software":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := parse(body); err == nil && (s.fhir == "" || len(s.hash) != 64 || strings.ContainsAny(s.String(), "\n\r\t")) {
			t.Errorf("got %+v", s)
		}
	})
}
