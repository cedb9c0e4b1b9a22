package uplink

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ginnel/ginnel/agent/spool"
)

var _ interface {
	Queue
	Newest
	Counted
} = (*spool.Spool)(nil)

var _ Evidence = (*spool.Shelf)(nil)

// Packed is a block as it lies in the spool.
type Packed = spool.Packed

// Queue is where blocks wait. Only Ack frees them.
type Queue interface {
	// Pending gives blocks that wait, oldest first, as many as fit into max
	// bytes, but at least one if there is one.
	Pending(max int) ([]Packed, error)
	// Ack says that the collector has all blocks of the epoch up to and with
	// sequence.
	Ack(epoch, sequence uint64) error
}

// Newest is a Queue that can also give its newest block, which then goes first
// when much waits: what is now matters more than what was.
type Newest interface {
	Newest() (b Packed, ok bool, err error)
}

// Counted is a Queue that knows how many blocks wait.
type Counted interface{ Len() int }

// Names of the delivery.
const (
	blocksPath   = "/v1/blocks"
	blocksType   = "application/vnd.ginnel.blocks"
	oldestHeader = "Ginnel-Oldest"

	maxBatch = 1 << 20 // bytes
	look     = 10 * time.Second
)

// mark names a block.
type mark struct{ epoch, sequence uint64 }

// Deliver sends what waits in the queue, and frees what the collector has
// acknowledged as durable. It returns nil when ctx ends.
func (u *Uplink) Deliver(ctx context.Context, ready func()) error {
	ready()
	if u.o.Queue == nil {
		<-ctx.Done()
		return nil
	}
	p := pace{slowest: u.o.Slowest}
	var live mark // the newest block that was sent ahead of its turn
	for ctx.Err() == nil {
		base := u.base()
		more, err := u.batch(ctx, base, &live)
		if err == nil && !more {
			more, err = u.sendEvidence(ctx, base)
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errFresh):
			sleep(ctx, leastPause, nil)
		case err != nil:
			u.deliver.recover(ctx, u.failed(ctx, deliverLoop, base, err, &p))
		default:
			p.reset()
			if !more {
				u.deliver.rest(ctx, look)
			}
		}
	}
	return nil
}

// batch sends one batch. more: others wait.
func (u *Uplink) batch(ctx context.Context, base string, live *mark) (more bool, err error) {
	blocks, err := u.o.Queue.Pending(maxBatch)
	if err != nil {
		return false, fmt.Errorf("read the spool: %w", err)
	}
	u.setWaiting(len(blocks))
	if len(blocks) == 0 {
		return false, nil
	}
	oldest := blocks[0]
	send, newest, err := u.ahead(blocks, *live)
	if err != nil {
		return false, fmt.Errorf("read the spool: %w", err)
	}
	marks, err := u.sendBlocks(ctx, base, oldest, send)
	if err != nil {
		return false, err
	}
	*live = newest
	freed, err := u.free(blocks, marks)
	if err != nil {
		return false, fmt.Errorf("free the spool: %w", err)
	}
	if !freed {
		return false, &Trouble{Kind: Broken, Text: "the collector took blocks and does not say that they are durable"}
	}
	u.succeeded(ctx, deliverLoop, base)
	rest, err := u.o.Queue.Pending(1)
	u.setWaiting(len(rest))
	return len(rest) > 0, err
}

// ahead puts the newest block before the batch when it would not be in it, and
// was not sent ahead before.
func (u *Uplink) ahead(blocks []Packed, live mark) ([]Packed, mark, error) {
	q, ok := u.o.Queue.(Newest)
	if !ok {
		return blocks, live, nil
	}
	b, ok, err := q.Newest()
	at := mark{b.Epoch, b.Sequence}
	if err != nil || !ok || at == live || at == (mark{blocks[len(blocks)-1].Epoch, blocks[len(blocks)-1].Sequence}) {
		return blocks, live, err
	}
	return append([]Packed{b}, blocks...), at, nil
}

// sendBlocks posts blocks and gives the watermark of each epoch.
func (u *Uplink) sendBlocks(ctx context.Context, base string, oldest Packed, blocks []Packed) (map[uint64]uint64, error) {
	var body []byte
	for _, b := range blocks {
		body = binary.AppendUvarint(body, uint64(len(b.Bytes)))
		body = append(body, b.Bytes...)
	}
	head := http.Header{"Content-Type": {blocksType}}
	head.Set(oldestHeader, fmt.Sprintf("%d/%d", oldest.Epoch, cmp.Or(oldest.First, oldest.Sequence)))
	raw, err := u.http.post(ctx, base, blocksPath, head, body, want{"application/json", maxAnswer})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Watermarks []struct {
			Epoch    uint64 `json:"epoch,string"`
			Sequence uint64 `json:"sequence"`
		} `json:"watermarks"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, &Trouble{Kind: Broken, Text: "the collector's answer to blocks cannot be read", Err: err}
	}
	marks := map[uint64]uint64{}
	for _, w := range answer.Watermarks {
		marks[w.Epoch] = max(marks[w.Epoch], w.Sequence)
	}
	return marks, nil
}

// free acknowledges, of the blocks in their order, those that a watermark
// covers; of a watermark beyond them nothing is believed.
func (u *Uplink) free(blocks []Packed, marks map[uint64]uint64) (freed bool, err error) {
	last := map[uint64]uint64{}
	for _, b := range blocks {
		if b.Sequence <= marks[b.Epoch] {
			last[b.Epoch] = max(last[b.Epoch], b.Sequence)
		}
	}
	for epoch, sequence := range last {
		if err := u.o.Queue.Ack(epoch, sequence); err != nil {
			return false, err
		}
		freed = true
	}
	return freed, nil
}
