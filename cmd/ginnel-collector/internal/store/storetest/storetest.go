// Package storetest is the behaviour that every store.Store shows.
package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// T0 is when the record of Block begins.
var T0 = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// Run shows that stores made by open behave. reopen closes a store and opens
// what it kept.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T, s store.Store) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"sites":      sites,
		"tokens":     tokens,
		"several":    severalGateways,
		"blocks":     blocks,
		"watermark":  watermark,
		"thinned":    thinned,
		"freed":      freed,
		"bad blocks": badBlocks,
		"pages":      manyBlocks,
		"clock":      wrongClock,
		"snapshots":  snapshots,
		"reports":    reports,
		"audit":      audit,
		"rollouts":   rollouts,
		"many":       manyPushes,
		"in force":   inForce,
		"heard":      heard,
		"operators":  operators,
		"exported":   exported,
		"proofs":     proofs,
		"boots":      boots,
		"evidence":   bundles,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	t.Run("reopened", func(t *testing.T) {
		s := open(t)
		add(t, s, "avocet", 1)
		ingest(t, s, Pack(t, Block("avocet-1", 7, 1)), Pack(t, Block("avocet-1", 7, 2)))
		s = reopen(t, s)
		if got := ingest(t, s, Pack(t, Block("avocet-1", 7, 2)), Pack(t, Block("avocet-1", 7, 3))); got != (store.Ingested{Watermark: store.Watermark{Epoch: 7, Sequence: 3}, New: 1, Again: 1}) {
			t.Errorf("after reopening: %+v", got)
		}
		if _, err := s.Site(t.Context(), "avocet"); err != nil {
			t.Error(err)
		}
	})
}

// Block makes the block of a sequence number: the minutes of T0 in a row.
func Block(gateway string, epoch, sequence uint64) *block.Block {
	var rtt hist.Histogram
	for i := range 6 {
		rtt.Add(11*time.Millisecond + time.Duration(i)*300*time.Microsecond)
	}
	start := T0.Add(time.Duration(sequence-1) * time.Minute)
	return &block.Block{Gateway: gateway, Epoch: epoch, Sequence: sequence, Boot: "b", Start: start, Length: time.Minute,
		Subjects: []block.Subject{{Class: block.CheckClass, Name: "records", Network: "kestrel", Target: "198.51.100.20:443",
			State: checks.Up, Since: T0, OK: 6, Sent: 6, Received: 6, RTT: &rtt}}}
}

// Wide makes a block that stands for several sequence numbers.
func Wide(gateway string, epoch, first, last uint64) *block.Block {
	b := Block(gateway, epoch, first)
	b.First, b.Sequence = first, last
	b.Length = time.Duration(last-first+1) * time.Minute
	return b
}

// Pack packs b.
func Pack(t *testing.T, b *block.Block) store.Packed {
	t.Helper()
	raw, err := block.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := store.Unpack(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ingest(t *testing.T, s store.Store, blocks ...store.Packed) store.Ingested {
	t.Helper()
	done, err := s.Ingest(t.Context(), "avocet-1", blocks, T0.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func add(t *testing.T, s store.Store, id string, token byte) store.Site {
	t.Helper()
	site := store.Site{ID: id, Name: "Surgery " + id, Postcode: "ZZ1 1ZZ", Gateway: id + "-1", Networks: []string{"kestrel", "heron"},
		TokenHash: [32]byte{token}, TokenExpires: T0.Add(24 * time.Hour), Added: T0}
	if err := s.AddSite(t.Context(), site); err != nil {
		t.Fatal(err)
	}
	return site
}

// sequences reads the record's sequence numbers of [from, to).
func sequences(t *testing.T, s store.Store, gateway string, from, to time.Time) []uint64 {
	t.Helper()
	var got []uint64
	for b, err := range s.Blocks(t.Context(), gateway, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b.Sequence)
	}
	return got
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func wantSame[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func upTo(n uint64) []uint64 {
	var all []uint64
	for i := range n {
		all = append(all, i+1)
	}
	return slices.Clip(all)
}
