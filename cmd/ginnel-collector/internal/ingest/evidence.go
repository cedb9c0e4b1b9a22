package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
)

// EvidenceType is the content type of a request with evidence.
const EvidenceType = "application/vnd.ginnel.evidence+json"

// EvidenceStore is the part of store.Store that is needed for evidence.
type EvidenceStore interface {
	SaveEvidence(ctx context.Context, gateway, id string, body []byte, arrived time.Time) error
}

// EvidenceHandler answers POST /v1/evidence: one document, kept once however often
// it comes.
type EvidenceHandler struct {
	store EvidenceStore
	who   func(*http.Request) (gateway string, err error)
	deny  func(http.ResponseWriter, error)
	log   *slog.Logger
	now   func() time.Time
}

// NewEvidence makes a handler; see New.
func NewEvidence(st EvidenceStore, who func(*http.Request) (string, error), deny func(http.ResponseWriter, error), log *slog.Logger) *EvidenceHandler {
	return &EvidenceHandler{store: st, who: who, deny: deny, log: log, now: time.Now}
}

// badEvidence tells a gateway that a document will never be taken.
const badEvidence = "bad_evidence"

func (h *EvidenceHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	gateway, err := h.who(r)
	if err != nil {
		h.deny(w, err)
		return
	}
	b, text, bad := readEvidence(w, r, gateway)
	if bad != nil {
		h.log.Warn("evidence refused", "gateway", gateway, "from", r.RemoteAddr, "status", bad.status, "err", bad.Error)
		reply(w, bad.status, bad)
		return
	}
	if err := h.store.SaveEvidence(r.Context(), gateway, b.ID, text, h.now()); err != nil {
		h.log.Error("evidence not kept", "gateway", gateway, "err", err)
		comeAgain(w)
		return
	}
	reply(w, http.StatusOK, struct {
		Kept string `json:"kept"`
	}{b.ID})
}

// readEvidence reads a document of the gateway.
func readEvidence(w http.ResponseWriter, r *http.Request, gateway string) (*evidence.Bundle, []byte, *refusal) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != EvidenceType {
		return nil, nil, &refusal{status: http.StatusUnsupportedMediaType, Error: fmt.Sprintf("content type %q is not %s", kind, EvidenceType)}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, evidence.MaxSize))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, nil, &refusal{status: http.StatusRequestEntityTooLarge, Code: badEvidence, Error: fmt.Sprintf("evidence is longer than %d bytes", evidence.MaxSize)}
	}
	if err != nil {
		return nil, nil, &refusal{status: http.StatusBadRequest, Error: "body ended early: " + err.Error()}
	}
	b, err := evidence.Decode(text)
	if err != nil {
		return nil, nil, &refusal{status: http.StatusBadRequest, Code: badEvidence, Error: err.Error()}
	}
	if b.Gateway != gateway {
		return nil, nil, &refusal{status: http.StatusForbidden, Code: badEvidence, Error: fmt.Sprintf("evidence is of %q, the certificate of %q", b.Gateway, gateway)}
	}
	return b, text, nil
}
