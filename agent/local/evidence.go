package local

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ginnel/ginnel/agent/block/evidence"
)

// evidenceRoutes are those of what was kept of changes for the worse.
func (s *Server) evidenceRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/evidence", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.Agent.Evidence(r.Context())
		if err != nil {
			answer(w, err)
			return
		}
		writeJSON(w, http.StatusOK, list)
	})
	mux.HandleFunc("GET /v1/evidence/{id}", func(w http.ResponseWriter, r *http.Request) {
		b, err := s.Agent.EvidenceOf(r.Context(), r.PathValue("id"))
		if err != nil {
			answer(w, err)
			return
		}
		writeJSON(w, http.StatusOK, b)
	})
}

// Evidence lists what the agent kept, the newest first.
func (c Client) Evidence(ctx context.Context) (list []evidence.Entry, err error) {
	return list, c.get(ctx, http.MethodGet, "/v1/evidence", &list)
}

// EvidenceOf gives one back.
func (c Client) EvidenceOf(ctx context.Context, id string) (*evidence.Bundle, error) {
	b := new(evidence.Bundle)
	return b, c.get(ctx, http.MethodGet, "/v1/evidence/"+url.PathEscape(id), b)
}
