package storetest

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

func blocks(t *testing.T, s store.Store) {
	var sent []store.Packed
	for i := range uint64(10) {
		sent = append(sent, Pack(t, Block("avocet-1", 1, i+1)))
	}
	wantSame(t, "first time", ingest(t, s, sent...), store.Ingested{Watermark: store.Watermark{Epoch: 1, Sequence: 10}, New: 10})
	wantSame(t, "again", ingest(t, s, sent[3:]...), store.Ingested{Watermark: store.Watermark{Epoch: 1, Sequence: 10}, Again: 7})
	changed := Block("avocet-1", 1, 4)
	changed.Boot = "another machine"
	wantSame(t, "a clone's", ingest(t, s, Pack(t, changed)), store.Ingested{Watermark: store.Watermark{Epoch: 1, Sequence: 10}, Again: 1, Clash: 1})
	if n, err := s.CountBlocks(t.Context(), "avocet-1"); n != 10 || err != nil {
		t.Errorf("%d blocks (%v), want 10", n, err)
	}

	wantSame(t, "whole record", sequences(t, s, "avocet-1", T0, T0.Add(time.Hour)), upTo(10))
	wantSame(t, "those that overlap", sequences(t, s, "avocet-1", T0.Add(150*time.Second), T0.Add(4*time.Minute)), []uint64{3, 4})
	wantSame(t, "one that ends where it begins", sequences(t, s, "avocet-1", T0.Add(2*time.Minute), T0.Add(3*time.Minute)), []uint64{3})
	wantSame(t, "another's", sequences(t, s, "bittern-1", T0, T0.Add(time.Hour)), nil)
	for b, err := range s.Blocks(t.Context(), "avocet-1", T0, T0.Add(time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Subjects[0].RTT.Count() != 6 || b.Boot != "b" {
			t.Errorf("block came back as %+v", b)
		}
	}
	for range s.Blocks(t.Context(), "avocet-1", T0, T0.Add(time.Hour)) {
		break // a caller may stop early
	}
}

func watermark(t *testing.T, s store.Store) {
	for _, step := range []struct {
		epoch, sequence, want uint64
	}{
		{1, 3, 0}, {1, 2, 0}, {1, 1, 3}, {1, 5, 3}, {1, 4, 5},
		{math.MaxUint64, 1, 1}, {1, 6, 6}, {math.MaxUint64, 2, 2}, // a new spool is a new epoch
	} {
		got := ingest(t, s, Pack(t, Block("avocet-1", step.epoch, step.sequence)))
		if got.Epoch != step.epoch || got.Sequence != step.want {
			t.Errorf("after block %d of epoch %d: %+v, want %d", step.sequence, step.epoch, got, step.want)
		}
	}
	// Gateways do not count for each other.
	got, err := s.Ingest(t.Context(), "bittern-1", []store.Packed{Pack(t, Block("bittern-1", 1, 7))}, T0)
	if err != nil || got.Sequence != 0 {
		t.Errorf("another gateway's: %+v, %v", got, err)
	}
	// Many at once end where one after another would.
	var wg sync.WaitGroup
	for i := range uint64(20) {
		p := Pack(t, Block("avocet-1", 9, i+1))
		wg.Go(func() {
			if _, err := s.Ingest(t.Context(), "avocet-1", []store.Packed{p}, T0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := ingest(t, s, Pack(t, Block("avocet-1", 9, 1))); got.Sequence != 20 {
		t.Errorf("after twenty at once: %+v", got)
	}
}

func thinned(t *testing.T, s store.Store) {
	one := func(b *block.Block) store.Ingested { t.Helper(); return ingest(t, s, Pack(t, b)) }
	for i := range uint64(3) {
		one(Block("avocet-1", 1, i+1))
	}
	// Their answer was lost; meanwhile the spool was full, and made one of five.
	wantSame(t, "five in one", one(Wide("avocet-1", 1, 1, 5)), store.Ingested{Watermark: store.Watermark{Epoch: 1, Sequence: 5}, New: 1})
	wantSame(t, "what it replaced", one(Block("avocet-1", 1, 2)), store.Ingested{Watermark: store.Watermark{Epoch: 1, Sequence: 5}, Again: 1})
	wantSame(t, "record", sequences(t, s, "avocet-1", T0, T0.Add(time.Hour)), []uint64{5})
	wantSame(t, "found by its end", sequences(t, s, "avocet-1", T0.Add(4*time.Minute), T0.Add(time.Hour)), []uint64{5})

	wantSame(t, "after a gap", one(Wide("avocet-1", 1, 7, 9)).Sequence, 5)
	wantSame(t, "gap closed", one(Block("avocet-1", 1, 6)).Sequence, 9)
	if _, err := s.Ingest(t.Context(), "avocet-1", []store.Packed{Pack(t, Block("avocet-1", 1, 10)), Pack(t, Wide("avocet-1", 1, 8, 12))}, T0); err == nil {
		t.Error("a block across the edge of another was taken")
	} else {
		wantErr(t, err, store.ErrOverlap)
	}
	wantSame(t, "nothing of a refused request is kept", sequences(t, s, "avocet-1", T0, T0.Add(time.Hour)), []uint64{5, 6, 9})
	wantSame(t, "hour", one(Wide("avocet-1", 1, 1, 60)), store.Ingested{Watermark: store.Watermark{Epoch: 1, Sequence: 60}, New: 1})
	if n, _ := s.CountBlocks(t.Context(), "avocet-1"); n != 1 {
		t.Errorf("%d blocks, want 1", n)
	}
}

func freed(t *testing.T, s store.Store) {
	ctx := t.Context()
	ingest(t, s, Pack(t, Block("avocet-1", 1, 101)))
	if err := s.Freed(ctx, "avocet-1", 1, 101); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "after", ingest(t, s, Pack(t, Block("avocet-1", 1, 102))).Sequence, 102)
	if err := s.Freed(ctx, "avocet-1", 1, 5); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "never back", ingest(t, s, Pack(t, Block("avocet-1", 1, 102))).Sequence, 102)
	wantSame(t, "an older one is kept", ingest(t, s, Pack(t, Block("avocet-1", 1, 50))).New, 1)
	if err := s.Freed(ctx, "avocet-1", 1, 0); err == nil {
		t.Error("sequence 0 was taken")
	}
}

func badBlocks(t *testing.T, s store.Store) {
	good := Pack(t, Block("avocet-1", 1, 1))
	for name, spoil := range map[string]func(p *store.Packed){
		"two epochs":   func(p *store.Packed) { p.Epoch = 2 },
		"sequence 0":   func(p *store.Packed) { p.First, p.Sequence = 0, 0 },
		"backwards":    func(p *store.Packed) { p.First = p.Sequence + 1 },
		"too far":      func(p *store.Packed) { p.Sequence = math.MaxUint64 },
		"covers none":  func(p *store.Packed) { p.End = p.Start },
		"ends earlier": func(p *store.Packed) { p.End = p.Start.Add(-time.Second) },
	} {
		bad := good
		bad.First, bad.Sequence = 2, 2
		spoil(&bad)
		if _, err := s.Ingest(t.Context(), "avocet-1", []store.Packed{good, bad}, T0); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if n, _ := s.CountBlocks(t.Context(), "avocet-1"); n != 0 {
		t.Errorf("%d blocks were kept", n)
	}
	if got := ingest(t, s); got != (store.Ingested{}) {
		t.Errorf("no blocks: %+v", got)
	}
}

// manyBlocks reads more blocks than a store is likely to fetch at once.
func manyBlocks(t *testing.T, s store.Store) {
	var all []store.Packed
	for i := range uint64(1500) {
		all = append(all, Pack(t, Block("avocet-1", 1, i+1)))
	}
	ingest(t, s, all...)
	wantSame(t, "record", sequences(t, s, "avocet-1", T0, T0.Add(48*time.Hour)), upTo(1500))
}

// wrongClock keeps what a gateway without a clock sends, whenever it says it was.
func wrongClock(t *testing.T, s store.Store) {
	var all []store.Packed
	for i, start := range []time.Time{T0, time.Unix(0, 0).UTC(), time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), T0} {
		b := Block("avocet-1", 1, uint64(i+1))
		b.Start = start
		all = append(all, Pack(t, b))
	}
	wantSame(t, "watermark", ingest(t, s, all...).Sequence, 4)
	wantSame(t, "at one time twice", sequences(t, s, "avocet-1", T0, T0.Add(time.Minute)), []uint64{1, 4})
	wantSame(t, "1970", sequences(t, s, "avocet-1", time.Unix(1, 0), time.Unix(2, 0)), []uint64{2})
	wantSame(t, "2090", sequences(t, s, "avocet-1", T0.AddDate(1, 0, 0), T0.AddDate(99, 0, 0)), []uint64{3})
}
