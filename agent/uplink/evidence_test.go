package uplink

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-telemetry/opamp-go/protobufs"
)

// shelf is evidence in memory.
type shelf struct {
	mu      sync.Mutex
	waiting []string
}

func (s *shelf) Waiting() (string, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return "", nil, nil
	}
	return s.waiting[0], []byte("document " + s.waiting[0]), nil
}

func (s *shelf) Ack(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(w string) bool { return w == id })
	return nil
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// TestEvidenceGoesAfterBlocks has evidence sent when the blocks are, again until
// it is acknowledged by name, and no more once the collector says that it never
// will be.
func TestEvidenceGoesAfterBlocks(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(s string) int {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
		return len(seen)
	}
	a := newAuthority(t)
	mux := http.NewServeMux()
	mux.HandleFunc(blocksPath, func(w http.ResponseWriter, _ *http.Request) {
		note("blocks")
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, mark7(2))
	})
	mux.HandleFunc(evidencePath, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		n := note(string(raw))
		w.Header().Set("Content-Type", "application/json")
		switch {
		case n == 2: // the store is busy
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":"later"}`)
		case n == 3:
			io.WriteString(w, `{"kept":"another"}`)
		case string(raw) == "document b":
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":"no","code":"bad_evidence"}`)
		default:
			io.WriteString(w, `{"kept":"`+string(raw)[len("document "):]+`"}`)
		}
	})
	mux.Handle(opampPath, opampHandler(t, func(*protobufs.AgentToServer) *protobufs.ServerToAgent { return &protobufs.ServerToAgent{} }))
	q, s := &queue{}, &shelf{waiting: []string{"a", "b", "c"}}
	q.put(2)
	running(t, Options{Identity: a.identity(a.serve(mux).URL, time.Now(), time.Now().Add(time.Hour)), Queue: q, Evidence: s, Slowest: leastPause})
	eventually(t, "all evidence is told", func() bool { return s.len() == 0 })
	mu.Lock()
	defer mu.Unlock()
	want := []string{"blocks", "document a", "document a", "document a", "document b", "document c"}
	if d := cmp.Diff(want, seen); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestACollectorThatTakesNoEvidence is an older one: its blocks go on, and nothing
// is called broken.
func TestACollectorThatTakesNoEvidence(t *testing.T) {
	a := newAuthority(t)
	h := &blocksHandler{answer: func(n int) string { return mark7(2 * n) }}
	q, s := &queue{}, &shelf{waiting: []string{"a"}}
	q.put(2)
	u := running(t, Options{Identity: a.identity(centreOf(t, a, h), time.Now(), time.Now().Add(time.Hour)), Queue: q, Evidence: s, Slowest: leastPause})
	eventually(t, "the blocks are sent", func() bool { return q.Len() == 0 })
	time.Sleep(300 * time.Millisecond)
	q.put(2)
	u.Wake()
	eventually(t, "more blocks are sent", func() bool { return q.Len() == 0 })
	if s.len() != 1 || u.Status().Error != "" {
		t.Errorf("%d wait, status says %q", s.len(), u.Status().Error)
	}
}
