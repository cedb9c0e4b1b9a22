package centre_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// TestClientSpeaksEveryRoute calls each method once, against a server that
// says back what it was asked.
func TestClientSpeaksEveryRoute(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		switch p := r.URL.Path; {
		case strings.HasSuffix(p, "/fleet"), strings.HasSuffix(p, "/keys"), strings.HasSuffix(p, "/audit"),
			r.Method == http.MethodGet && strings.HasSuffix(p, "/rollouts"):
			fmt.Fprint(w, "[{}]")
		case strings.HasSuffix(p, "/configs"):
			fmt.Fprint(w, `{"bundles":{"ab":"eA=="}}`)
		default:
			fmt.Fprint(w, `{"id":"7","by":"alice","number":7}`)
		}
	}))
	defer srv.Close()
	c, err := centre.NewClient(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	until := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	for _, call := range []struct {
		do   func() (any, error)
		want string // asked
		got  string // read of the answer
	}{
		{func() (any, error) { v, err := c.Fleet(ctx); return len(v), err }, "GET /api/v1/fleet", "1"},
		{func() (any, error) { v, err := c.Keys(ctx); return len(v), err }, "GET /api/v1/keys", "1"},
		{func() (any, error) { v, err := c.Bundles(ctx, []string{"ab"}); return string(v["ab"]), err }, `POST /api/v1/configs {"hashes":["ab"]}`, "x"},
		{func() (any, error) { v, err := c.StartRollout(ctx, centre.NewRollout{Name: "n"}); return v.ID, err },
			`POST /api/v1/rollouts {"name":"n","rings":null,"pause":{"gateways":0,"share":0,"within_seconds":0},"pushes":null}`, "7"},
		{func() (any, error) { v, err := c.Rollouts(ctx); return len(v), err }, "GET /api/v1/rollouts", "1"},
		{func() (any, error) { v, err := c.Rollout(ctx, "a/b"); return v.ID, err }, "GET /api/v1/rollouts/a%2Fb", "7"},
		{func() (any, error) { v, err := c.MoveRollout(ctx, "7", centre.MoveBack); return v.ID, err }, "POST /api/v1/rollouts/7/back null", "7"},
		{func() (any, error) { v, err := c.Freeze(ctx); return v.By, err }, "GET /api/v1/freeze", "alice"},
		{func() (any, error) {
			v, err := c.SetFreeze(ctx, centre.Freeze{Until: until, Why: "w"})
			return v.By, err
		},
			`PUT /api/v1/freeze {"until":"2026-11-30T08:00:00Z","why":"w"}`, "alice"},
		{func() (any, error) { v, err := c.List(ctx); return v.Number, err }, "GET /api/v1/list", "7"},
		{func() (any, error) {
			v, err := c.SetList(ctx, centre.NewList{Bundle: []byte("x")})
			return v.Number, err
		}, `PUT /api/v1/list {"bundle":"eA=="}`, "7"},
		{func() (any, error) { v, err := c.Audit(ctx, 5, 9); return len(v), err }, "GET /api/v1/audit?after=5&limit=9", "1"},
	} {
		asked = nil
		got, err := call.do()
		if err != nil || fmt.Sprint(got) != call.got || !slices.Equal(asked, []string{call.want}) {
			t.Errorf("asked %q and read %v, %v; want %q and %q", asked, got, err, call.want, call.got)
		}
	}
}

// TestBundlesAreAskedForInParts asks for more bundles than go into one request.
func TestBundlesAreAskedForInParts(t *testing.T) {
	var sizes []int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var h centre.Hashes
		if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
			t.Error(err)
		}
		sizes = append(sizes, len(h.Hashes))
		got := centre.Bundles{Bundles: map[string][]byte{}}
		for _, hash := range h.Hashes {
			got.Bundles[hash] = []byte(hash)
		}
		json.NewEncoder(w).Encode(got)
	}))
	defer srv.Close()
	c, err := centre.NewClient(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	hashes := make([]string, centre.MaxHashes+1)
	for i := range hashes {
		hashes[i] = fmt.Sprint(i)
	}
	bundles, err := c.Bundles(t.Context(), hashes)
	if err != nil || len(bundles) != len(hashes) || !slices.Equal(sizes, []int{centre.MaxHashes, 1}) {
		t.Errorf("%d bundles in parts of %v, %v", len(bundles), sizes, err)
	}
}

// TestClientSendsNoMoreThanIsTaken refuses a body that the collector would.
func TestClientSendsNoMoreThanIsTaken(t *testing.T) {
	c, err := centre.NewClient("http://127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.SetFreeze(context.Background(), centre.Freeze{Why: strings.Repeat("y", centre.MaxBody)})
	if err == nil || !strings.Contains(err.Error(), "at most 1048576 are taken") {
		t.Error(err)
	}
}
