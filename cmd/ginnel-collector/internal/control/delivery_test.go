package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
)

// queue is a spool in memory.
type queue struct {
	mu     sync.Mutex
	blocks []uplink.Packed
	next   uint64
	acked  []uint64
}

const epoch = 1<<63 + 42 // more than JSON's numbers hold

func (q *queue) add(t *testing.T, n int) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	for range n {
		q.next++
		raw, err := block.Encode(&block.Block{Gateway: "avocet-1", Epoch: epoch, Sequence: q.next, Boot: "b",
			Start: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC).Add(time.Duration(q.next) * time.Minute), Length: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		q.blocks = append(q.blocks, uplink.Packed{Epoch: epoch, First: q.next, Sequence: q.next, Bytes: raw})
	}
}

func (q *queue) Pending(max int) ([]uplink.Packed, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.blocks), 7) // small batches make more of them
	return slices.Clone(q.blocks[:n]), nil
}

func (q *queue) Ack(e, sequence uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e != epoch {
		return fmt.Errorf("epoch %d is not ours", e)
	}
	q.acked = append(q.acked, sequence)
	q.blocks = slices.DeleteFunc(q.blocks, func(b uplink.Packed) bool { return b.Sequence <= sequence })
	return nil
}

func (q *queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.blocks)
}

// Blocks go on through an outage of the listener, and through answers that are
// lost after the store has taken the blocks: none is missing, none is there
// twice, none is freed before it is durable.
func TestBlocksThroughAnOutage(t *testing.T) {
	r := newRig(t)
	var posts atomic.Int64
	r.cut = func(q *http.Request) bool { return q.URL.Path == "/v1/blocks" && posts.Add(1)%4 == 3 }
	q := &queue{}
	g := r.run(r.enrolled("avocet"), func(o *uplink.Options) { o.Queue = q })

	q.add(t, 40)
	g.Wake()
	eventually(t, "some have arrived", func() bool { return posts.Load() >= 2 })
	r.stop()
	q.add(t, 30)
	g.Wake()
	eventually(t, "the outage is noticed", func() bool { return g.Status().Error != "" })
	if n := g.Status().Waiting; n < 30 {
		t.Errorf("status says %d wait, at least 30 do", n)
	}
	r.start()
	q.add(t, 30)
	g.Wake()
	eventually(t, "the queue is empty", func() bool { return q.Len() == 0 })
	g.stop()

	if n, err := r.store.CountBlocks(t.Context(), "avocet-1"); err != nil || n != 100 {
		t.Errorf("the store has %d blocks, %v; want 100", n, err)
	}
	var got uint64
	for b, err := range r.store.Blocks(t.Context(), "avocet-1", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) {
		if got++; err != nil || b.Sequence != got {
			t.Fatalf("block %d: %+v, %v", got, b, err)
		}
	}
	if got != 100 || !slices.IsSorted(q.acked) || q.acked[len(q.acked)-1] != 100 {
		t.Errorf("%d blocks read back, acknowledged at %v", got, q.acked)
	}
}

// postBlocks posts an empty body to the blocks' path as a gateway; the error
// has status and code.
func postBlocks(r *rig, id *identity.Identity) (int, error) {
	tls, err := id.TLSConfig(nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.client(tls).Post("https://"+r.addr+"/v1/blocks", "application/vnd.ginnel.blocks", http.NoBody)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return 200, nil
	}
	var said struct{ Code string }
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return resp.StatusCode, err
	}
	return resp.StatusCode, fmt.Errorf("%d %s", resp.StatusCode, said.Code)
}
