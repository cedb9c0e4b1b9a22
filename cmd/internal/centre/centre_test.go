package centre

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

func TestWorstFirst(t *testing.T) {
	now := time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)
	sites := []Site{
		{ID: "a", Name: "Curlew", State: checks.Up, Since: now},
		{ID: "b", Name: "Avocet", State: checks.Up},
		{ID: "c", State: checks.MaintenanceMode},
		{ID: "d", State: "from the future"},
		{ID: "e", State: checks.DegradedState},
		{ID: "f", State: checks.Down, Since: now.Add(-time.Hour)},
		{ID: "g", State: checks.Down, Since: now},
	}
	WorstFirst(sites)
	var order strings.Builder
	for _, s := range sites {
		order.WriteString(s.ID)
	}
	if order.String() != "gfedcba" {
		t.Errorf("order %s, want gfedcba", order.String())
	}
	var c Count
	for _, s := range sites {
		c.Add(s.State)
	}
	if c != (Count{Up: 3, All: 7}) {
		t.Errorf("%+v", c)
	}
}

func TestClientNeedsAnAddress(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8480", "ftp://x", "http://", "http://a b"} {
		if _, err := NewClient(bad, nil); err == nil || !strings.HasPrefix(err.Error(), "collector: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestClientSaysWhatWentWrong asks what is no collector, or no good one.
func TestClientSaysWhatWentWrong(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
		hint   string
	}{
		"another program": {func(w http.ResponseWriter) { http.Error(w, "<h1>nginx</h1>", 502) }, "collector said 502: Bad Gateway", "pages' address"},
		"refused":         {func(w http.ResponseWriter) { w.WriteHeader(400); io.WriteString(w, `{"error":"id: bad","hint":"so"}`) }, "collector said 400: id: bad", "so"},
		"not JSON":        {func(w http.ResponseWriter) { io.WriteString(w, "hello") }, "collector's answer is not what was asked for: ", ""},
		"endless": {func(w http.ResponseWriter) {
			for range maxAnswer>>20 + 1 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, "is longer than", ""},
		"cut off": {func(w http.ResponseWriter) { w.Header().Set("Content-Length", "10"); io.WriteString(w, "[") }, "read collector's answer: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			defer srv.Close()
			client, err := NewClient(srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Sites(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if e, ok := errors.AsType[*Error](err); ok && !strings.Contains(e.Hint, c.hint) {
				t.Errorf("hint %q, want %q", e.Hint, c.hint)
			}
		})
	}
}

func TestClientObeysItsContext(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer srv.Close()
	client, err := NewClient(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := client.Health(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
