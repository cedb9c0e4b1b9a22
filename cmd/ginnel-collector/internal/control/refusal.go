package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Refusal is a request that is refused, and why, for the technician's eyes.
type Refusal struct {
	Status int    // of HTTP
	Code   string // for programs: "token_used"
	Reason string
	Advice string // what to do next; empty: nothing
}

func (r *Refusal) Error() string { return r.Reason }

// Hint is what to do next.
func (r *Refusal) Hint() string { return r.Advice }

// Refuse answers a request with err. What is not a *Refusal becomes 500
// without its text.
func Refuse(w http.ResponseWriter, err error) {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		r = &Refusal{http.StatusInternalServerError, "internal", "the collector has a fault of its own", "its log says more"}
	}
	body, _ := json.Marshal(map[string]string{"code": r.Code, "error": r.Reason, "hint": r.Advice}) // strings only
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if (r.Status == http.StatusServiceUnavailable || r.Status == http.StatusTooManyRequests) && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "10")
	}
	w.WriteHeader(r.Status)
	w.Write(append(body, '\n'))
}

var expired = &Refusal{http.StatusForbidden, "certificate_expired",
	"the gateway's certificate has expired; it may be renewed, and nothing else", ""}

// limiter lets through a burst, then one every so often. It keeps strangers
// from filling the audit log.
type limiter struct {
	mu      sync.Mutex
	left    float64
	at      time.Time // zero: never asked
	dropped int
}

const (
	limitBurst = 20
	limitEvery = 5 * time.Second
)

// allow says whether this one may pass, and how many did not since the last
// that did.
func (l *limiter) allow(now time.Time) (bool, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() {
		l.left = limitBurst
	} else if gone := now.Sub(l.at); gone > 0 {
		l.left = min(limitBurst, l.left+float64(gone)/float64(limitEvery))
	}
	l.at = now
	if l.left < 1 {
		l.dropped++
		return false, 0
	}
	l.left--
	n := l.dropped
	l.dropped = 0
	return true, n
}
