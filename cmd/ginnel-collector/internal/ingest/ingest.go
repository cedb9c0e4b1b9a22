// Package ingest takes blocks from gateways into the store and answers with
// the watermark up to which they are durable. A gateway may send a block as
// often as it likes: it counts once.
//
// A request's body is a sequence of packed blocks, each behind its length as
// an unsigned varint. Who sent it is for the certificate to say, not the body.
package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

const (
	// ContentType of a request.
	ContentType = "application/vnd.ginnel.blocks"
	// MaxBody of a request, in bytes.
	MaxBody = 4 << 20
	// Oldest is the header in which a gateway may name the oldest block that
	// it still holds, as EPOCH/SEQUENCE in decimals. All before it were
	// acknowledged once, so that a collector whose store is new, or back
	// from an older copy, does not wait for them.
	Oldest = "Ginnel-Oldest"
)

// Store is the part of store.Store that is needed here.
type Store interface {
	Ingest(ctx context.Context, gateway string, blocks []store.Packed, arrived time.Time) (store.Ingested, error)
	Freed(ctx context.Context, gateway string, epoch, sequence uint64) error
}

// Handler answers POST /v1/blocks.
type Handler struct {
	store Store
	who   func(*http.Request) (gateway string, err error)
	deny  func(http.ResponseWriter, error)
	log   *slog.Logger
	now   func() time.Time
	count Counter
}

// Counter counts since the start of the program.
type Counter struct {
	Blocks, Again, Clash atomic.Uint64 // blocks kept; there already; of those, with other content
	Rejected             atomic.Uint64 // requests refused for what they are
	Failed               atomic.Uint64 // requests that the store could not serve
}

// New makes a handler. who says which gateway a request comes from, or why it
// is from none, which deny then answers.
func New(st Store, who func(*http.Request) (string, error), deny func(http.ResponseWriter, error), log *slog.Logger) *Handler {
	return &Handler{store: st, who: who, deny: deny, log: log, now: time.Now}
}

// Count gives the counters, which go on counting.
func (h *Handler) Count() *Counter { return &h.count }

// Answer is the body of a success.
type Answer struct {
	Watermarks []Watermark `json:"watermarks"`
}

// Watermark is a store.Watermark whose epoch is a string, since it does not
// fit into the numbers of JSON.
type Watermark struct {
	Epoch    uint64 `json:"epoch,string"`
	Sequence uint64 `json:"sequence"`
}

// refusal is an answer that is not a success.
type refusal struct {
	status int
	Error  string `json:"error"`
	Code   string `json:"code,omitempty"`  // for programs
	Block  *int   `json:"block,omitempty"` // counted from 0; absent: the request itself
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	gateway, err := h.who(r)
	if err != nil {
		h.count.Rejected.Add(1)
		h.deny(w, err)
		return
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != ContentType {
		h.refuse(w, r, gateway, refusal{status: http.StatusUnsupportedMediaType, Error: fmt.Sprintf("content type %q is not %s", kind, ContentType)})
		return
	}
	oldest, err := parseOldest(r.Header.Get(Oldest))
	if err != nil {
		h.refuse(w, r, gateway, refusal{status: http.StatusBadRequest, Error: err.Error()})
		return
	}
	blocks, bad := readBlocks(http.MaxBytesReader(w, r.Body, MaxBody), gateway)
	if bad != nil {
		h.refuse(w, r, gateway, *bad)
		return
	}
	answer, err := h.keep(r.Context(), gateway, oldest, blocks)
	switch {
	case errors.Is(err, store.ErrOverlap):
		h.refuse(w, r, gateway, refusal{status: http.StatusBadRequest, Error: err.Error()})
	case err != nil:
		h.fail(w, gateway, err)
	default:
		reply(w, http.StatusOK, answer)
	}
}

// keep hands the blocks to the store, an epoch at a time, the oldest first.
func (h *Handler) keep(ctx context.Context, gateway string, oldest *store.Watermark, blocks []store.Packed) (Answer, error) {
	answer := Answer{Watermarks: []Watermark{}}
	if oldest != nil {
		if err := h.store.Freed(ctx, gateway, oldest.Epoch, oldest.Sequence); err != nil {
			return answer, err
		}
	}
	slices.SortStableFunc(blocks, func(a, b store.Packed) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.First, b.First))
	})
	for len(blocks) > 0 {
		n := slices.IndexFunc(blocks, func(b store.Packed) bool { return b.Epoch != blocks[0].Epoch })
		if n < 0 {
			n = len(blocks)
		}
		done, err := h.store.Ingest(ctx, gateway, blocks[:n], h.now())
		if err != nil {
			return answer, err
		}
		h.count.Blocks.Add(uint64(done.New))
		h.count.Again.Add(uint64(done.Again))
		h.count.Clash.Add(uint64(done.Clash))
		if done.Clash > 0 {
			h.log.Warn("blocks came again with other content; two machines may have one identity",
				"gateway", gateway, "epoch", done.Epoch, "blocks", done.Clash)
		}
		answer.Watermarks = append(answer.Watermarks, Watermark{done.Epoch, done.Sequence})
		blocks = blocks[n:]
	}
	return answer, nil
}

// refuse says no to a request that will be as bad the next time.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, gateway string, why refusal) {
	h.count.Rejected.Add(1)
	h.log.Warn("blocks refused", "gateway", gateway, "from", r.RemoteAddr, "status", why.status, "err", why.Error)
	reply(w, why.status, why)
}

// fail asks the gateway to come again: nothing is wrong with what it sent.
func (h *Handler) fail(w http.ResponseWriter, gateway string, err error) {
	h.count.Failed.Add(1)
	h.log.Error("blocks not kept", "gateway", gateway, "err", err)
	comeAgain(w)
}

// comeAgain answers for a store that could not serve.
func comeAgain(w http.ResponseWriter) {
	// Spread, so that a county does not come back in the same second.
	w.Header().Set("Retry-After", strconv.Itoa(5+rand.IntN(26)))
	reply(w, http.StatusServiceUnavailable, refusal{Error: "the store could not keep them; nothing was lost, send them again"})
}

func reply(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil { // of our own types only
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(raw, '\n'))
}
