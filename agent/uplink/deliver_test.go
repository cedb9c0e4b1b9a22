package uplink

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-telemetry/opamp-go/protobufs"
)

// queue is a spool in memory that gives two blocks at a time.
type queue struct {
	mu     sync.Mutex
	blocks []Packed
	acked  []uint64
}

func (q *queue) put(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		s := uint64(len(q.blocks) + len(q.acked) + 1)
		q.blocks = append(q.blocks, Packed{Epoch: 7, First: s, Sequence: s, Bytes: fmt.Appendf(nil, "block %d", s)})
	}
}

func (q *queue) Pending(int) ([]Packed, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.blocks[:min(2, len(q.blocks))]), nil
}

func (q *queue) Newest() (Packed, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.blocks) == 0 {
		return Packed{}, false, nil
	}
	return q.blocks[len(q.blocks)-1], true, nil
}

func (q *queue) Ack(_, sequence uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.acked = append(q.acked, sequence)
	q.blocks = slices.DeleteFunc(q.blocks, func(b Packed) bool { return b.Sequence <= sequence })
	return nil
}

func (q *queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.blocks)
}

// blocksHandler records bodies as words, and answers what answer says.
type blocksHandler struct {
	t      *testing.T
	answer func(n int) string

	mu   sync.Mutex
	seen []string
}

func (h *blocksHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Error(err)
	}
	var line strings.Builder
	line.WriteString(r.Header.Get(oldestHeader) + ":")
	for len(raw) > 0 {
		n, used := binary.Uvarint(raw)
		if used <= 0 || int(n) > len(raw)-used {
			h.t.Fatalf("framing: %q", raw)
		}
		line.WriteString(" " + string(raw[used : used+int(n)])[len("block "):])
		raw = raw[used+int(n):]
	}
	h.mu.Lock()
	h.seen = append(h.seen, line.String())
	n := len(h.seen)
	h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, h.answer(n))
}

func (h *blocksHandler) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func centreOf(t *testing.T, a *authority, h *blocksHandler) string {
	h.t = t
	mux := http.NewServeMux()
	mux.Handle(blocksPath, h)
	mux.Handle(opampPath, opampHandler(t, func(*protobufs.AgentToServer) *protobufs.ServerToAgent { return &protobufs.ServerToAgent{} }))
	return a.serve(mux).URL
}

func mark7(n int) string {
	return fmt.Sprintf(`{"watermarks":[{"epoch":"7","sequence":%d}]}`, n)
}

// What is now goes first, once; the rest follows in its order.
func TestNewestGoesFirst(t *testing.T) {
	a := newAuthority(t)
	h := &blocksHandler{answer: func(n int) string { return mark7([]int{2, 4, 6}[n-1]) }}
	q := &queue{}
	q.put(5)
	running(t, Options{Identity: a.identity(centreOf(t, a, h), time.Now(), time.Now().Add(time.Hour)), Queue: q})
	eventually(t, "the queue is empty", func() bool { return q.Len() == 0 })
	want := []string{"7/1: 5 1 2", "7/3: 3 4", "7/5: 5"}
	if d := cmp.Diff(want, h.lines()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]uint64{2, 4, 5}, q.acked); d != "" {
		t.Errorf("acknowledged (-want +got):\n%s", d)
	}
}

// A watermark frees what was sent in this batch and is covered by it: nothing
// for other epochs, nothing beyond.
func TestOnlyTheWatermarkFrees(t *testing.T) {
	answers := []string{`{"watermarks":[]}`, `{}`, `{"watermarks":[{"epoch":"8","sequence":9}]}`, `{"watermarks":[{"epoch":"7","sequence":0}]}`, `nonsense`, mark7(1), mark7(999)}
	a := newAuthority(t)
	h := &blocksHandler{answer: func(n int) string { return answers[min(n, len(answers))-1] }}
	q := &queue{}
	q.put(3)
	u := running(t, Options{Identity: a.identity(centreOf(t, a, h), time.Now(), time.Now().Add(time.Hour)), Queue: q, Slowest: leastPause})
	eventually(t, "the trouble is said", func() bool {
		return u.Status().Error == "the collector took blocks and does not say that they are durable"
	})
	if n := u.Status().Waiting; n != 3 {
		t.Errorf("%d wait, want 3", n)
	}
	eventually(t, "the queue is empty", func() bool { return q.Len() == 0 })
	if d := cmp.Diff([]uint64{1, 3}, q.acked); d != "" {
		t.Errorf("acknowledged (-want +got):\n%s", d)
	}
	if err := u.Status().Error; err != "" {
		t.Errorf("all is delivered, and the status says %q", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "30": 30 * time.Second, "100000": maxAfter, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
		if got := after(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
