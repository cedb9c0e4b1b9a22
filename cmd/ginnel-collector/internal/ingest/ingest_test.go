package ingest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest/ingesttest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

// bench is a handler behind mutual TLS, with a gateway's client.
type bench struct {
	*testing.T
	store   store.Store
	handler *Handler
	url     string
	client  *http.Client
}

func newBench(t *testing.T, wrap func(Store) Store) *bench {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ca := ingesttest.NewCA(t)
	who := func(r *http.Request) (string, error) {
		if len(r.TLS.PeerCertificates) == 0 {
			return "", errors.New("no certificate")
		}
		return r.TLS.PeerCertificates[0].Subject.CommonName, nil
	}
	deny := func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusUnauthorized) }
	b := &bench{T: t, store: st, handler: New(wrap(st), who, deny, slog.New(slog.DiscardHandler))}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/blocks", b.handler)
	srv := httptest.NewUnstartedServer(mux)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.Pool}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	b.url, b.client = srv.URL+"/v1/blocks", ca.Client(t, "avocet-1")
	return b
}

func same(s Store) Store { return s }

func (b *bench) post(body []byte, header ...string) (int, string, http.Header) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", ContentType)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return resp.StatusCode, string(answer), resp.Header
}

func body(blocks ...store.Packed) []byte {
	var raw []byte
	for _, p := range blocks {
		raw = binary.AppendUvarint(raw, uint64(len(p.Bytes)))
		raw = append(raw, p.Bytes...)
	}
	return raw
}

func packed(t *testing.T, gateway string, epoch, sequence uint64) store.Packed {
	return storetest.Pack(t, storetest.Block(gateway, epoch, sequence))
}

func TestBlocksAreKeptOnce(t *testing.T) {
	b := newBench(t, same)
	two := body(packed(t, "avocet-1", math.MaxUint64, 2), packed(t, "avocet-1", 5, 1), packed(t, "avocet-1", math.MaxUint64, 1))
	for range 2 {
		status, answer, _ := b.post(two)
		want := `{"watermarks":[{"epoch":"5","sequence":1},{"epoch":"18446744073709551615","sequence":2}]}` + "\n"
		if status != http.StatusOK || answer != want {
			t.Errorf("%d %s, want %s", status, answer, want)
		}
	}
	if n, err := b.store.CountBlocks(t.Context(), "avocet-1"); n != 3 || err != nil {
		t.Errorf("%d blocks (%v), want 3", n, err)
	}
	clash := storetest.Block("avocet-1", 5, 1)
	clash.Boot = "a clone"
	b.post(body(storetest.Pack(t, clash)))
	c := b.handler.Count()
	if got := []uint64{c.Blocks.Load(), c.Again.Load(), c.Clash.Load(), c.Rejected.Load(), c.Failed.Load()}; !cmp.Equal(got, []uint64{3, 4, 1, 0, 0}) {
		t.Errorf("counted %v", got)
	}
}

func TestOldest(t *testing.T) {
	b := newBench(t, same)
	late := body(packed(t, "avocet-1", 5, 1001))
	if _, answer, _ := b.post(late); !strings.Contains(answer, `"sequence":0`) {
		t.Errorf("without the header: %s", answer)
	}
	if _, answer, _ := b.post(late, Oldest, "5/1001"); !strings.Contains(answer, `"sequence":1001`) {
		t.Errorf("with it: %s", answer)
	}
	for _, bad := range []string{"5", "5/0", "x/1", "5/-1", "5/18446744073709551615", "-1/1"} {
		if status, answer, _ := b.post(late, Oldest, bad); status != http.StatusBadRequest || !strings.Contains(answer, bad) {
			t.Errorf("%q: %d %s", bad, status, answer)
		}
	}
}

func TestRefused(t *testing.T) {
	good := packed(t, "avocet-1", 1, 1)
	corrupt := packed(t, "avocet-1", 1, 2)
	corrupt.Bytes = bytes.Clone(corrupt.Bytes)
	corrupt.Bytes[len(corrupt.Bytes)/2] ^= 1
	other := packed(t, "bittern-1", 1, 1)
	for name, c := range map[string]struct {
		body   []byte
		header []string
		status int
		want   string
	}{
		"corrupt":          {body(good, corrupt), nil, 400, `"block":1`},
		"no block":         {[]byte{0}, nil, 400, `"block":0`},
		"cut short":        {body(good)[:20], nil, 400, "cut short"},
		"endless length":   {bytes.Repeat([]byte{0xff}, 11), nil, 400, "cut short"},
		"length too large": {binary.AppendUvarint(nil, math.MaxUint64), nil, 400, "cut short"},
		"another's":        {body(good, other), nil, 403, `block 1 is of \"bittern-1\", the certificate of \"avocet-1\"`},
		"too large":        {make([]byte, MaxBody+1), nil, 413, "fewer blocks"},
		"of another type":  {body(good), []string{"Content-Type", "application/json"}, 415, ContentType},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, same)
			status, answer, _ := b.post(c.body, c.header...)
			if status != c.status || !strings.Contains(answer, c.want) {
				t.Errorf("%d %s, want %d %s", status, answer, c.status, c.want)
			}
			if n, _ := b.store.CountBlocks(t.Context(), "avocet-1"); n != 0 || b.handler.Count().Rejected.Load() != 1 {
				t.Errorf("%d blocks kept, %d requests counted as refused", n, b.handler.Count().Rejected.Load())
			}
		})
	}
}

func TestOverlapIsRefused(t *testing.T) {
	b := newBench(t, same)
	b.post(body(storetest.Pack(t, storetest.Wide("avocet-1", 1, 1, 5))))
	if status, answer, _ := b.post(body(storetest.Pack(t, storetest.Wide("avocet-1", 1, 4, 8)))); status != 400 || !strings.Contains(answer, "edge of another") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestStrangersAreDenied(t *testing.T) {
	b := newBench(t, same)
	tr := b.client.Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.Certificates = nil
	b.client = &http.Client{Transport: tr}
	if status, answer, _ := b.post(body(packed(t, "avocet-1", 1, 1))); status != 401 || !strings.Contains(answer, "no certificate") {
		t.Errorf("%d %s", status, answer)
	}
	if b.handler.Count().Rejected.Load() != 1 {
		t.Error("not counted")
	}
}

// full is a store that has no room.
type full struct{ Store }

func (full) Ingest(context.Context, string, []store.Packed, time.Time) (store.Ingested, error) {
	return store.Ingested{}, fmt.Errorf("disk full at a secret path")
}

func TestStoreTroubleIsNotTheGateways(t *testing.T) {
	b := newBench(t, func(s Store) Store { return full{s} })
	status, answer, header := b.post(body(packed(t, "avocet-1", 1, 1)))
	var said struct{ Error string }
	if err := json.Unmarshal([]byte(answer), &said); err != nil || status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("%d %s (Retry-After %q)", status, answer, header.Get("Retry-After"))
	}
	if strings.Contains(said.Error, "secret path") || b.handler.Count().Failed.Load() != 1 {
		t.Errorf("said %q, counted %d", said.Error, b.handler.Count().Failed.Load())
	}
}
