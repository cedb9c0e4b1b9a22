package web

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// TestBadBodies are told apart, and nothing is done of what they ask for.
func TestBadBodies(t *testing.T) {
	d, s := two(t)
	d.server.gate.Header = ""
	for name, c := range map[string]struct {
		path, kind, body string
		status           int
		want             string
	}{
		"not JSON":    {"/api/v1/freeze", "application/json", "{", 400, "cannot be read"},
		"two values":  {"/api/v1/freeze", "application/json", "{} {}", 400, "something follows"},
		"other names": {"/api/v1/freeze", "application/json", `{"untill": 1}`, 400, "unknown field"},
		"a form":      {"/api/v1/freeze", "application/x-www-form-urlencoded", "until=x", 415, "not application/json"},
		"too much":    {"/api/v1/freeze", "application/json", `{"why": "` + strings.Repeat("x", centre.MaxBody) + `"}`, 413, "too large"},
		"a big list":  {"/api/v1/list", "application/json", `{"bundle": "` + strings.Repeat("A", 2*bundle.MaxSize) + `"}`, 413, "too large"},
	} {
		req, err := http.NewRequest(http.MethodPut, d.url+c.path, strings.NewReader(c.body))
		must(t, err)
		req.Header.Set("Content-Type", c.kind)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: %d %.300s, want %d with %q", name, resp.StatusCode, body, c.status, c.want)
		}
	}
	if _, err := d.as("").Bundles(t.Context(), make([]string, 2*centre.MaxHashes)); err != nil {
		t.Error(err)
	}
	if len(s.told) != 0 {
		t.Error(s.told)
	}
}
