package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output is what a command wrote, also while it writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// collector is one that serves.
type collector struct {
	*testing.T
	data            string
	pages, gateways string // addresses
	log             *output
	stop            func() int // gives the exit code
}

// start serves until stop; the flags are besides those that every start has.
func start(t *testing.T, data string, flags ...string) *collector {
	t.Helper()
	c := &collector{T: t, data: data, log: &output{}}
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	args := append([]string{"serve", "--data", data, "--url", "https://127.0.0.1", "--listen-gateways", "127.0.0.1:0"}, flags...)
	go func() { code <- run(ctx, args, cli.IO{Out: io.Discard, Err: c.log}) }()
	c.stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { c.stop() })
	address := regexp.MustCompile(`for=(\w+) address=(\S+)`)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(c.log.String(), "msg=ready"); time.Sleep(5 * time.Millisecond) {
		if len(code) > 0 || time.Now().After(deadline) {
			t.Fatalf("it does not serve:\n%s", c.log)
		}
	}
	for _, m := range address.FindAllStringSubmatch(c.log.String(), -1) {
		if m[1] == "pages" {
			c.pages = m[2]
		} else {
			c.gateways = m[2]
		}
	}
	return c
}

func (c *collector) client() *centre.Client {
	api, err := centre.NewClient("http://"+c.pages, nil)
	must(c, err)
	return api
}

// enrolled gives the client of a gateway whose token was spent and whose
// certificate the collector's authority has signed, as enrolment does.
func (c *collector) enrolled(gateway string, token [32]byte) *http.Client {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(c, err)
	st, err := sqlite.Open(c.Context(), filepath.Join(c.data, storeFile), slog.New(slog.DiscardHandler))
	must(c, err)
	defer st.Close()
	const uid = "019ab000-0000-7000-8000-000000000001"
	_, err = st.RedeemToken(c.Context(), token, uid, public, time.Now().AddDate(0, -4, 0)) // so that months are over
	must(c, err)

	caCert, caKey := c.authority()
	var urns []*url.URL
	for _, urn := range []string{identity.InstanceURN + uid, identity.GatewayURN + gateway} {
		u, err := url.Parse(urn)
		must(c, err)
		urns = append(urns, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: gateway},
		URIs: urns, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, caCert, &key.PublicKey, caKey)
	must(c, err)
	pool := x509.NewCertPool()
	pool.AddCert(caCert)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}}
}

func (c *collector) authority() (*x509.Certificate, any) {
	c.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(c.data, name))
		must(c, err)
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	cert, err := x509.ParseCertificate(read("ca.crt"))
	must(c, err)
	key, err := x509.ParsePKCS8PrivateKey(read("ca.key"))
	if err != nil {
		key, err = x509.ParseECPrivateKey(read("ca.key"))
	}
	must(c, err)
	return cert, key
}

// awaitReport waits until the collector has made a finished month's report by
// itself.
func (c *collector) awaitReport(site, month string) {
	c.Helper()
	st, err := sqlite.Open(c.Context(), filepath.Join(c.data, storeFile), slog.New(slog.DiscardHandler))
	must(c, err)
	defer st.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err = st.Report(c.Context(), site, month); err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("no report of %s: %v\n%s", month, err, c.log)
		}
	}
}

// post sends blocks and gives status and answer.
func (c *collector) post(hc *http.Client, blocks ...store.Packed) (int, string) {
	c.Helper()
	var body []byte
	for _, p := range blocks {
		body = append(binary.AppendUvarint(body, uint64(len(p.Bytes))), p.Bytes...)
	}
	resp, err := hc.Post("https://"+c.gateways+"/v1/blocks", ingest.ContentType, bytes.NewReader(body))
	must(c, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(c, err)
	return resp.StatusCode, string(answer)
}

// TestCentre goes the whole way: a site is added, its gateway sends, the pages
// show it, the report counts it, a copy has it; also after a restart.
func TestCentre(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	c := start(t, data, "--listen-pages", "127.0.0.1:0")
	token := sha256.Sum256([]byte("token"))
	_, err := c.client().AddSite(t.Context(), centre.NewSite{ID: "avocet", Name: "Avocet Surgery", Networks: []string{"kestrel"},
		TokenSHA256: hex.EncodeToString(token[:]), Expires: time.Now().Add(time.Hour)})
	must(t, err)
	avocet := c.enrolled("avocet-1", token)
	one, two := storetest.Pack(t, storetest.Block("avocet-1", 5, 1)), storetest.Pack(t, storetest.Block("avocet-1", 5, 2))
	for _, blocks := range [][]store.Packed{{one, two}, {two}} {
		if status, answer := c.post(avocet, blocks...); status != 200 || !strings.Contains(answer, `"epoch":"5","sequence":2`) {
			t.Errorf("%d %s", status, answer)
		}
	}
	if status, answer := c.post(avocet, storetest.Pack(t, storetest.Block("bittern-1", 5, 1))); status != 403 {
		t.Errorf("another's block: %d %s", status, answer)
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: avocet.Transport.(*http.Transport).TLSClientConfig.RootCAs}}}
	if status, answer := c.post(stranger, one); status != 401 {
		t.Errorf("a stranger: %d %s", status, answer)
	}
	resp, err := http.Get("http://" + c.pages + "/metrics")
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	must(t, err)
	for _, want := range []string{"ginnel_blocks_ingested_total 2\n", "ginnel_blocks_duplicate_total 1\n", "ginnel_ingest_rejected_total 2\n", "ginnel_gateways 1\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	month := time.Now().AddDate(0, 0, -1) // over the whole test the same, and begun
	shown, err := c.client().Report(t.Context(), "avocet", month.Format("2006-01"), "text")
	must(t, err)
	page, err := c.client().Report(t.Context(), "avocet", month.Format("2006-01"), "html")
	if err != nil || !strings.Contains(string(page), "<h1") || !strings.Contains(string(page), "Avocet Surgery") {
		t.Errorf("report as a page: %v\n%.300s", err, page)
	}
	ca, err := c.client().CA(t.Context())
	if err != nil || ca.URL != "https://127.0.0.1" || !strings.Contains(ca.PEM, "BEGIN CERTIFICATE") {
		t.Errorf("%+v, %v", ca, err)
	}

	finished := storetest.Block("avocet-1", 5, 3) // of a month that is over
	finished.Start = time.Date(time.Now().Year(), time.Now().Month(), 1, 12, 0, 0, 0, time.UTC).AddDate(0, -1, -16)
	if status, answer := c.post(avocet, storetest.Pack(t, finished)); status != 200 {
		t.Errorf("%d %s", status, answer)
	}

	file, other := filepath.Join(t.TempDir(), "backup.tar"), filepath.Join(t.TempDir(), "other")
	command(t, 0, "backup", file, "--data", data) // while it serves
	command(t, 0, "restore", file, "--data", other)
	if code := c.stop(); code != 0 {
		t.Errorf("stopped with %d:\n%s", code, c.log)
	}
	c = start(t, data, "--listen-pages", "127.0.0.1:0")
	if status, answer := c.post(avocet, two); status != 200 || !strings.Contains(answer, `"sequence":3`) {
		t.Errorf("after a restart: %d %s", status, answer)
	}
	c.awaitReport("avocet", finished.Start.Format("2006-01"))
	if code := c.stop(); code != 0 {
		t.Errorf("stopped with %d", code)
	}
	if printed := command(t, 0, "report", "--data", data, "--month", month.Format("2006-01"), "avocet"); !strings.Contains(printed, "Avocet Surgery, "+month.Format("January 2006")) ||
		firstLine(printed) != firstLine(string(shown)) {
		t.Errorf("report:\n%s\nand by the API:\n%s", printed, shown)
	}
	copied, err := sqlite.Open(t.Context(), filepath.Join(other, storeFile), slog.New(slog.DiscardHandler))
	must(t, err)
	defer copied.Close()
	if n, err := copied.CountBlocks(t.Context(), "avocet-1"); n != 3 || err != nil {
		t.Errorf("the copy has %d blocks (%v)", n, err)
	}
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

// command runs a command and gives what it printed.
func command(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	// A command that should be refused and serves instead ends here.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got := run(ctx, args, cli.IO{Out: &out, Err: &problems}); got != code {
		t.Errorf("%s ended with %d, want %d: %s", strings.Join(args, " "), got, code, &problems)
	}
	return out.String() + problems.String()
}

func TestPagesStayOnThisMachine(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	everywhere, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	defer everywhere.Close()
	file, err := everywhere.(*net.TCPListener).File()
	must(t, err)
	defer file.Close()
	text, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer text.Close()
	serve := []string{"serve", "--data", data, "--url", "https://127.0.0.1", "--gateways", "127.0.0.1:0"}
	for want, flags := range map[string][]string{
		"without a certificate": {"--pages", "0.0.0.0:0"},
		"refused: others":       {"--pages-fd", fdOf(file)},
		"is no listener":        {"--pages-fd", fdOf(text)},
		"address already":       {"--pages", everywhere.Addr().String()},
	} {
		if got := command(t, 1, append(serve, flags...)...); !strings.Contains(got, want) {
			t.Errorf("%v: %s, want %q", flags, got, want)
		}
	}
	t.Setenv("LISTEN_FDS", "2")
	if got := command(t, 1, serve...); !strings.Contains(got, "only one listener") {
		t.Error(got)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("it wrote before it refused")
	}
}

// fdOf gives a copy of a file's descriptor, which the command will close.
func fdOf(f *os.File) string {
	fd, err := dup(f)
	if err != nil {
		panic(err)
	}
	return fd
}

func TestHandedInListenerAndReadiness(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	file, err := ln.(*net.TCPListener).File()
	must(t, err)
	ln.Close()
	defer file.Close()
	socket := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	defer notify.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", "1") // another program's
	c := start(t, filepath.Join(t.TempDir(), "data"), "--pages-fd", fdOf(file))
	if c.pages != ln.Addr().String() {
		t.Errorf("pages at %s, handed in was %s", c.pages, ln.Addr())
	}
	if _, err := c.client().Health(t.Context()); err != nil {
		t.Error(err)
	}
	must(t, notify.SetReadDeadline(time.Now().Add(time.Minute)))
	said := make([]byte, 100)
	if n, err := notify.Read(said); err != nil || string(said[:n]) != "READY=1" {
		t.Errorf("told %q, %v", said[:n], err)
	}
	if got := command(t, 1, "serve", "--data", c.data, "--url", "https://127.0.0.1", "--gateways", "127.0.0.1:0", "--pages", "127.0.0.1:0"); !strings.Contains(got, "in use by another collector") {
		t.Errorf("a second one on the same data: %s", got)
	}
}

func TestOperatorsShowCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := ingesttestCA(t, dir)
	c := start(t, filepath.Join(dir, "data"), "--listen-pages", "0.0.0.0:0",
		"--pages-cert", filepath.Join(dir, "server.crt"), "--pages-key", filepath.Join(dir, "server.key"), "--operators-ca", filepath.Join(dir, "ca.crt"))
	_, port, err := net.SplitHostPort(c.pages)
	must(t, err)
	sam := ca.Client(t, "sam")
	api, err := centre.NewClient("https://127.0.0.1:"+port, sam)
	must(t, err)
	if _, err := api.Health(t.Context()); err != nil {
		t.Error(err)
	}
	token := sha256.Sum256([]byte("token"))
	_, err = api.AddSite(t.Context(), centre.NewSite{ID: "avocet", Name: "Avocet", TokenSHA256: hex.EncodeToString(token[:]), Expires: time.Now().Add(time.Hour)})
	must(t, err)
	st, err := sqlite.Open(t.Context(), filepath.Join(c.data, storeFile), slog.New(slog.DiscardHandler))
	must(t, err)
	defer st.Close()
	if events, err := st.Events(t.Context(), 1); err != nil || events[0].Actor != "sam" {
		t.Errorf("%+v, %v", events, err)
	}
	tr := sam.Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.Certificates = nil
	if resp, err := (&http.Client{Transport: tr}).Get("https://127.0.0.1:" + port + "/"); err == nil {
		resp.Body.Close()
		t.Error("pages were shown without a certificate")
	}
}
