package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// site adds a site whose gateway is enrolled.
func (c *collector) site(id string) *http.Client {
	c.Helper()
	token := sha256.Sum256([]byte(id))
	_, err := c.client().AddSite(c.Context(), centre.NewSite{ID: id, Name: id, Networks: []string{"kestrel"},
		TokenSHA256: hex.EncodeToString(token[:]), Expires: time.Now().Add(time.Hour)})
	must(c, err)
	return c.enrolled(id+"-1", token)
}

// TestFlood has one gateway ask as fast as it can, in two ways, while another
// goes on with its work.
func TestFlood(t *testing.T) {
	c := start(t, filepath.Join(t.TempDir(), "data"), "--listen-pages", "127.0.0.1:0")
	bad, good := c.site("avocet"), c.site("bittern")
	const span = 3 * time.Second
	var served, limited, other atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(span)
	began := time.Now()
	for range 24 {
		wg.Go(func() {
			for time.Now().Before(end) {
				resp, err := bad.Post("https://"+c.gateways+"/v1/blocks", ingest.ContentType, bytes.NewReader(nil))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusOK:
					served.Add(1)
				case http.StatusTooManyRequests:
					limited.Add(1)
					if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || s < 1 {
						t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
					}
				default:
					other.Add(1)
				}
			}
		})
	}
	var slowest time.Duration
	sent := 0
	for time.Now().Before(end) {
		at := time.Now()
		sent++
		if status, answer := c.post(good, storetest.Pack(t, storetest.Block("bittern-1", 5, uint64(sent)))); status != 200 {
			t.Errorf("the other gateway: %d %s", status, answer)
		}
		slowest = max(slowest, time.Since(at))
		time.Sleep(110 * time.Millisecond)
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("in %v one gateway asked %d times: %d served, %d told to come later; the other sent %d blocks, %d taken, the slowest after %v",
		took.Round(time.Millisecond), served.Load()+limited.Load(), served.Load(), limited.Load(), sent, sent, slowest.Round(time.Millisecond))
	if most := int64(100 + took/(100*time.Millisecond) + 1); served.Load() > most || served.Load() < 50 || limited.Load() == 0 || other.Load() != 0 {
		t.Errorf("served %d, want at most %d; limited %d; otherwise %d", served.Load(), most, limited.Load(), other.Load())
	}
	resp, err := http.Get("http://" + c.pages + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	must(t, err)
	if !strings.Contains(text.String(), fmt.Sprintf("ginnel_requests_limited_total %d\n", limited.Load())) {
		t.Errorf("not in the metrics:\n%s", &text)
	}
	if n := strings.Count(c.log.String(), "asks too often"); n != 1 {
		t.Errorf("told of %d times, want once", n)
	}
}

// TestGuessedTokens limits an address that enrols in vain; whoever has a
// certificate calls from there as before.
func TestGuessedTokens(t *testing.T) {
	c := start(t, filepath.Join(t.TempDir(), "data"), "--listen-pages", "127.0.0.1:0")
	good := c.site("avocet")
	guess := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: good.Transport.(*http.Transport).TLSClientConfig.RootCAs}}}
	var got []int
	for range 22 {
		req, err := http.NewRequest(http.MethodPost, "https://"+c.gateways+control.Path, strings.NewReader(""))
		must(t, err)
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Authorization", "Bearer "+identity.NewToken().Reveal())
		resp, err := guess.Do(req)
		must(t, err)
		resp.Body.Close()
		got = append(got, resp.StatusCode)
		if wait := resp.Header.Get("Retry-After"); (resp.StatusCode == 429) != (wait != "") {
			t.Errorf("%d with Retry-After %q", resp.StatusCode, wait)
		}
	}
	for i, status := range got {
		if want := map[bool]bool{true: status/100 == 4 && status != 429, false: status == 429}[i < 20]; !want {
			t.Errorf("guess %d: %d", i+1, status)
		}
	}
	if status, answer := c.post(good, storetest.Pack(t, storetest.Block("avocet-1", 5, 1))); status != 200 {
		t.Errorf("a gateway at that address: %d %s", status, answer)
	}
}
