package web

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
)

// BenchmarkSitesPage makes the page of a county of 390 sites.
func BenchmarkSitesPage(b *testing.B) {
	st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	must(b, err)
	defer st.Close()
	s := New(Config{Store: NewRecent(st), Ingest: &ingest.Counter{}, Zone: time.UTC, Log: slog.New(slog.DiscardHandler), AnyHost: true})
	for i := range 390 {
		id := fmt.Sprintf("site-%d", i)
		hash := [32]byte{byte(i), byte(i >> 8), 1}
		must(b, st.AddSite(b.Context(), store.Site{ID: id, Name: id, Gateway: id + "-1", TokenHash: hash, TokenExpires: now.AddDate(1, 0, 0)}))
		_, err := st.RedeemToken(b.Context(), hash, id, []byte(id), now)
		must(b, err)
		must(b, st.SaveSnapshot(b.Context(), id+"-1", snapshot(id, id, checks.Up), time.Now()))
	}
	h := s.Handler()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
