package ingest

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/storetest"
)

func TestEvidence(t *testing.T) {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	name := "avocet-1"
	who := func(*http.Request) (string, error) {
		if name == "" {
			return "", errors.New("nobody")
		}
		return name, nil
	}
	deny := func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusUnauthorized) }
	srv := httptest.NewServer(NewEvidence(st, who, deny, slog.New(slog.DiscardHandler)))
	defer srv.Close()
	post := func(kind string, body []byte) (int, string) {
		t.Helper()
		r, err := srv.Client().Post(srv.URL, kind, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(text)
	}
	b, text := storetest.Evidence(t, "kestrel", time.Hour)
	for range 2 {
		if code, said := post(EvidenceType, text); code != 200 || !strings.Contains(said, `"kept":"`+b.ID+`"`) {
			t.Fatalf("%d %s", code, said)
		}
	}
	if all, err := st.EvidenceOf(t.Context(), "avocet-1"); err != nil || len(all) != 1 {
		t.Errorf("%d, %v", len(all), err)
	}
	for what, c := range map[string]struct {
		gateway, kind string
		body          []byte
		code          int
		said          string
	}{
		"another gateway's": {"bittern-1", EvidenceType, text, 403, "bad_evidence"},
		"nobody's":          {"", EvidenceType, text, 401, ""},
		"another type":      {"avocet-1", "text/plain", text, 415, ""},
		"no document":       {"avocet-1", EvidenceType, []byte("{}"), 400, "bad_evidence"},
		"too long":          {"avocet-1", EvidenceType, make([]byte, evidence.MaxSize+1), 413, "bad_evidence"},
	} {
		name = c.gateway
		if code, said := post(c.kind, c.body); code != c.code || !strings.Contains(said, c.said) {
			t.Errorf("%s: %d %s", what, code, said)
		}
	}
	name = "avocet-1"
	st.Close()
	if code, _ := post(EvidenceType, text); code != 503 {
		t.Errorf("a store that is closed: %d", code)
	}
}
