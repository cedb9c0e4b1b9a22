package control

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/limit"
)

// What one caller may have of the collector. A gateway calls once a second when
// it is hurried, and sends blocks one request after the other when it comes
// back after weeks: both are far below.
const (
	gatewayBurst = 100
	gatewayEvery = 100 * time.Millisecond
	// gatewayAtOnce is how many requests of a gateway may be under way.
	gatewayAtOnce = 16
	// A refused enrolment is a mistake of a technician, or somebody who
	// guesses. Those that succeed are not counted.
	triesBurst = 20
	triesEvery = 30 * time.Second
	// A request too many is not answered at once, so that whoever asks again
	// at every answer does not ask faster.
	tooManyPause = 200 * time.Millisecond
	tooManyWait  = 256 // of a gateway, that are made to wait
)

// limits bounds what callers may have. Its zero value is not usable.
type limits struct {
	gateways, tries *limit.Buckets
	limited         atomic.Uint64

	mu    sync.Mutex
	busy  map[string]int       // requests under way, by gateway
	noted map[string]time.Time // when a flood was last told of
}

func newLimits() *limits {
	return &limits{gateways: limit.New(gatewayBurst, gatewayEvery), tries: limit.New(triesBurst, triesEvery), busy: map[string]int{}, noted: map[string]time.Time{}}
}

// Limit stands in front of all that gateways ask. Who it is comes from the
// certificate, which the handshake has verified: many gateways may share an
// address.
func (s *Server) Limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			next.ServeHTTP(w, r) // see mayTry
			return
		}
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		atOnce := s.limits.enter(name)
		defer s.limits.leave(name)
		wait := s.limits.gateways.Take(name, s.o.Now())
		if wait == 0 && atOnce <= gatewayAtOnce {
			next.ServeHTTP(w, r)
			return
		}
		s.limits.limited.Add(1)
		if s.limits.note(name, s.o.Now()) {
			s.o.Log.WarnContext(r.Context(), "a gateway asks too often and is held back", "gateway", name, "from", r.RemoteAddr)
		}
		if atOnce <= tooManyWait {
			pause(r, tooManyPause)
		}
		tooMany(w, wait, name+" asks too often")
	})
}

// Limited counts the requests that were turned away since the start.
func (s *Server) Limited() uint64 { return s.limits.limited.Load() }

func (l *limits) enter(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[name]++
	return l.busy[name]
}

func (l *limits) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[name]--; l.busy[name] == 0 {
		delete(l.busy, name)
	}
}

// note says whether a flood is to be told of: once in ten minutes each.
func (l *limits) note(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.noted[name]) < 10*time.Minute {
		return false
	}
	l.noted[name] = now
	return true
}

// mayTry says whether an address may try to enrol once more; nil: it may.
func (s *Server) mayTry(w http.ResponseWriter, r *http.Request) bool {
	wait := s.limits.tries.Wait(limit.Address(r.RemoteAddr), s.o.Now())
	if wait == 0 {
		return true
	}
	s.limits.limited.Add(1)
	tooMany(w, wait, "too many enrolments from this address were refused")
	return false
}

// failedTry counts an enrolment that was refused.
func (s *Server) failedTry(r *http.Request) {
	s.limits.tries.Take(limit.Address(r.RemoteAddr), s.o.Now())
}

func tooMany(w http.ResponseWriter, wait time.Duration, reason string) {
	seconds := strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
	w.Header().Set("Retry-After", seconds)
	Refuse(w, &Refusal{http.StatusTooManyRequests, "too_many", reason, "come again in " + seconds + " s"})
}

func pause(r *http.Request, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.Context().Done():
	case <-t.C:
	}
}
