package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// as gives a client of the operator whose file that is.
func as(t *testing.T, file string) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(file, file)
	must(t, err)
	text, err := os.ReadFile(file)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
}

// ask gives status and body of a page.
func ask(t *testing.T, hc *http.Client, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := hc.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(body)
}

// TestOperators adds and removes operators beside a collector that serves them.
func TestOperators(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	c := start(t, data, "--listen-pages", "0.0.0.0:0", "--operators")
	_, port, err := net.SplitHostPort(c.pages)
	must(t, err)
	base := "https://127.0.0.1:" + port
	pem := func(name string) string { return filepath.Join(dir, name+".pem") }
	if got := command(t, 0, "operator", "add", "sam", "-o", pem("sam"), "--data", data); !strings.Contains(got, "all organisations") {
		t.Error(got)
	}
	command(t, 0, "operator", "add", "kim", "--organisation", "kestrel", "-o", pem("kim"), "--data", data)
	if info, err := os.Stat(pem("sam")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	sam, kim := as(t, pem("sam")), as(t, pem("kim"))
	api, err := centre.NewClient(base, sam)
	must(t, err)
	token := sha256.Sum256([]byte("token"))
	site := centre.NewSite{ID: "avocet", Name: "Avocet Surgery", Networks: []string{"kestrel"}, TokenSHA256: hex.EncodeToString(token[:]), Expires: time.Now().Add(time.Hour)}
	_, err = api.AddSite(t.Context(), site)
	must(t, err)

	// Whose kestrel is was not said yet: nobody but sam sees it.
	if status, body := ask(t, kim, base+"/api/v1/sites"); status != 200 || body != "[]\n" {
		t.Errorf("%d %s", status, body)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(data, storeFile), slog.New(slog.DiscardHandler))
	must(t, err)
	defer st.Close()
	must(t, st.SetOrganisations(t.Context(), map[string]string{"kestrel": "kestrel"}))
	if status, body := ask(t, kim, base+"/sites/avocet"); status != 200 || !strings.Contains(body, "Avocet Surgery") {
		t.Errorf("%d %s", status, body)
	}
	if events, err := st.Events(t.Context(), 1); err != nil || events[0].Actor != "sam" || events[0].From != "127.0.0.1" {
		t.Errorf("%+v, %v", events, err)
	}

	// A gateway is no operator, nor an operator a gateway.
	gateway := c.enrolled("avocet-1", token)
	var status int
	var body string
	for range 20 { // it is refused once the handshake is over for us: mostly we hear why, else that writing fails
		if status, body = ask(t, gateway, base+"/"); status != 0 || strings.Contains(body, "tls: ") {
			break
		}
	}
	if status != 0 || !strings.Contains(body, "tls: ") {
		t.Errorf("a gateway at the pages: %d %s", status, body)
	}
	if status, body := ask(t, sam, "https://"+c.gateways+"/v1/blocks"); status != 405 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := c.post(sam); status != 403 || !strings.Contains(body, "no gateway's") {
		t.Errorf("an operator among gateways: %d %s", status, body)
	}

	if got := command(t, 1, "operator", "add", "kim", "-o", pem("kim2"), "--data", data); !strings.Contains(got, "is an operator already") {
		t.Error(got)
	}
	if _, err := os.Stat(pem("kim2")); err == nil {
		t.Error("a key was left behind that nobody has")
	}
	command(t, 0, "operator", "remove", "kim", "--data", data)
	if status, body := ask(t, kim, base+"/"); status != 403 || !strings.Contains(body, "was removed") {
		t.Errorf("removed, on the connection of before: %d %s", status, body)
	}
	command(t, 0, "operator", "add", "kim", "--organisation", "kestrel", "-o", pem("kim3"), "--data", data)
	if status, body := ask(t, kim, base+"/api/v1/sites"); status != 403 || !strings.Contains(body, "there is a newer one") {
		t.Errorf("the old certificate: %d %s", status, body)
	}
	if status, _ := ask(t, as(t, pem("kim3")), base+"/"); status != 200 {
		t.Errorf("the new certificate: %d", status)
	}
	got := command(t, 0, "operator", "list", "--data", data)
	if !strings.Contains(got, "kim       kestrel") || !strings.Contains(got, "sam       all") {
		t.Error(got)
	}
	if got := command(t, 1, "operator", "remove", "nobody", "--data", data); !strings.Contains(got, "nobody is no operator") {
		t.Error(got)
	}
}

func TestOperatorNames(t *testing.T) {
	for _, c := range [][]string{{"Sam"}, {"a b"}, {"../x"}, {"sam", "--organisation", "K/x"}, {"sam", "--days", "0"}, {}} {
		command(t, 2, append([]string{"operator", "add", "--data", t.TempDir()}, c...)...)
	}
	if got := command(t, 1, "operator", "add", "sam", "--data", t.TempDir()); !strings.Contains(got, "no store at") {
		t.Error(got)
	}
}

// TestProxyNamesTheOperator takes the header from this machine, and of those
// who are known.
func TestProxyNamesTheOperator(t *testing.T) {
	dir := t.TempDir()
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "pages")
	must(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	c := start(t, data, "--listen-pages", "unix:"+socket, "--operator-header", "X-Remote-User")
	command(t, 0, "operator", "add", "sam", "-o", filepath.Join(dir, "sam.pem"), "--data", data)
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	for _, w := range []struct {
		status int
		want   string
		header []string
	}{
		{403, "must set X-Remote-User once", nil},
		{403, "once", []string{"X-Remote-User", "sam", "X-Remote-User", "kim"}},
		{403, "Operator kim is not known here", []string{"X-Remote-User", "kim"}},
		{200, "Sites", []string{"X-Remote-User", "sam"}},
	} {
		if status, body := ask(t, hc, "http://collector.example.net/", w.header...); status != w.status || !strings.Contains(body, w.want) {
			t.Errorf("%v: %d %s, want %q", w.header, status, body, w.want)
		}
	}
	c.stop()
	serve := []string{"serve", "--data", data, "--url", "https://127.0.0.1", "--gateways", "127.0.0.1:0", "--operator-header", "X-Remote-User"}
	if got := command(t, 1, append(serve, "--pages", "0.0.0.0:0")...); !strings.Contains(got, "could name an operator") {
		t.Error(got)
	}
	for _, more := range [][]string{{"--operators"}, {"--operator-header", "a b"}} {
		command(t, 2, append(serve, more...)...)
	}
}

// TestActsAreExported writes every act to a file while it serves, and prints
// them.
func TestActsAreExported(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "audit.jsonl")
	start(t, data, "--listen-pages", "127.0.0.1:0", "--audit-log", file)
	command(t, 0, "operator", "add", "sam", "-o", filepath.Join(dir, "sam.pem"), "--data", data)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if text, _ := os.ReadFile(file); strings.Contains(string(text), `"act":"operator add","object":"sam"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the act is not in the file")
		}
	}
	if got := command(t, 0, "audit", "--data", data); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"actor":"operator on this machine"`) {
		t.Error(got)
	}
	if got := command(t, 0, "audit", "--data", data, "--after", "1"); got != "" {
		t.Error(got)
	}
	serve := []string{"serve", "--data", filepath.Join(dir, "other"), "--url", "https://127.0.0.1", "--gateways", "127.0.0.1:0", "--pages", "127.0.0.1:0"}
	for _, more := range [][]string{{"--syslog", "x"}, {"--audit-log", filepath.Join(file, "x")}} {
		command(t, 1, append(serve, more...)...)
	}
}
