package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// Ingest keeps blocks of one epoch in one transaction, with the watermark that
// they lead to; see store.Store.
func (s *Store) Ingest(ctx context.Context, gateway string, blocks []store.Packed, arrived time.Time) (store.Ingested, error) {
	var done store.Ingested
	if len(blocks) == 0 {
		return done, nil
	}
	if err := valid(blocks); err != nil {
		return done, fmt.Errorf("ingest of %q: %w", gateway, err)
	}
	epoch := blocks[0].Epoch
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		done = store.Ingested{} // should it run again
		var longest time.Duration
		for _, b := range blocks {
			if err := ingest(ctx, tx, gateway, b, arrived, &done); err != nil {
				return fmt.Errorf("block %d of epoch %d: %w", b.Sequence, b.Epoch, err)
			}
			longest = max(longest, b.End.Sub(b.Start))
		}
		if err := heard(ctx, tx, gateway, arrived); err != nil {
			return err
		}
		var err error
		done.Watermark, err = advance(ctx, tx, gateway, epoch, 0, longest)
		return err
	})
	if err != nil {
		return store.Ingested{}, fmt.Errorf("ingest of %q: %w", gateway, err)
	}
	return done, nil
}

// valid says whether blocks are of one epoch and have sound names.
func valid(blocks []store.Packed) error {
	for _, b := range blocks {
		if b.Epoch != blocks[0].Epoch {
			return fmt.Errorf("blocks of two epochs, %d and %d", blocks[0].Epoch, b.Epoch)
		}
		if err := b.Valid(); err != nil {
			return err
		}
	}
	return nil
}

// row is a kept block's name.
type row struct {
	id              int64
	first, sequence uint64
	body            []byte
}

// ingest keeps one block, or finds that it is there.
func ingest(ctx context.Context, tx *sql.Tx, gateway string, b store.Packed, arrived time.Time, done *store.Ingested) error {
	there, err := overlapping(ctx, tx, gateway, b)
	if err != nil {
		return err
	}
	for _, r := range there {
		switch {
		case r.first <= b.First && r.sequence >= b.Sequence:
			done.Again++
			if r.first == b.First && r.sequence == b.Sequence && !bytes.Equal(r.body, b.Bytes) {
				done.Clash++
			}
			return nil
		case r.first < b.First || r.sequence > b.Sequence:
			return fmt.Errorf("%w: %d to %d, and %d to %d is there", store.ErrOverlap, b.First, b.Sequence, r.first, r.sequence)
		}
	}
	for _, r := range there {
		if _, err := tx.ExecContext(ctx, `DELETE FROM block WHERE id = ?`, r.id); err != nil {
			return err
		}
	}
	done.New++
	_, err = tx.ExecContext(ctx, `INSERT INTO block (gateway, epoch, first, sequence, start, finish, arrived, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, gateway, int64(b.Epoch), int64(b.First), int64(b.Sequence),
		b.Start.UnixMicro(), b.End.UnixMicro(), micros(arrived), b.Bytes)
	return err
}

// overlapping gives the kept blocks that share a sequence number with b.
func overlapping(ctx context.Context, tx *sql.Tx, gateway string, b store.Packed) ([]row, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, first, sequence, body FROM block
		WHERE gateway = ? AND epoch = ? AND sequence >= ? ORDER BY sequence`, gateway, int64(b.Epoch), int64(b.First))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.first, &r.sequence, &r.body); err != nil {
			return nil, err
		}
		if r.first > b.Sequence {
			break
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// advance moves the watermark of an epoch to at least floor and then over all
// blocks that follow without a gap.
func advance(ctx context.Context, tx *sql.Tx, gateway string, epoch, floor uint64, longest time.Duration) (store.Watermark, error) {
	mark := store.Watermark{Epoch: epoch}
	err := tx.QueryRowContext(ctx, `SELECT sequence FROM watermark WHERE gateway = ? AND epoch = ?`,
		gateway, int64(epoch)).Scan(&mark.Sequence)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return mark, err
	}
	mark.Sequence = max(mark.Sequence, floor)
	if mark.Sequence, err = contiguous(ctx, tx, gateway, mark); err != nil {
		return mark, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO watermark (gateway, epoch, sequence, longest) VALUES (?, ?, ?, ?)
		ON CONFLICT (gateway, epoch) DO UPDATE SET sequence = excluded.sequence, longest = max(longest, excluded.longest)`,
		gateway, int64(epoch), int64(mark.Sequence), longest.Microseconds())
	return mark, err
}

// contiguous gives the last sequence that is reached from mark without a gap.
func contiguous(ctx context.Context, tx *sql.Tx, gateway string, mark store.Watermark) (uint64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT first, sequence FROM block
		WHERE gateway = ? AND epoch = ? AND sequence > ? ORDER BY sequence`, gateway, int64(mark.Epoch), int64(mark.Sequence))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	at := mark.Sequence
	for rows.Next() {
		var first, sequence uint64
		if err := rows.Scan(&first, &sequence); err != nil {
			return 0, err
		}
		if first > at+1 {
			break
		}
		at = sequence
	}
	return at, rows.Err()
}

// Freed moves the watermark to before sequence; see store.Store.
func (s *Store) Freed(ctx context.Context, gateway string, epoch, sequence uint64) error {
	if sequence < 1 || sequence > math.MaxInt64 {
		return fmt.Errorf("freed by %q: %d is no sequence number", gateway, sequence)
	}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := advance(ctx, tx, gateway, epoch, sequence-1, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("freed by %q: %w", gateway, err)
	}
	return nil
}

// CountBlocks says how many blocks of a gateway are kept.
func (s *Store) CountBlocks(ctx context.Context, gateway string) (int, error) {
	var n int
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM block WHERE gateway = ?`, gateway).Scan(&n); err != nil {
		return 0, fmt.Errorf("count blocks of %q: %w", gateway, err)
	}
	return n, nil
}

// page is how many blocks are read at once, so that a slow reader does not
// keep a read transaction open, and with it the write-ahead log.
const page = 512

// Blocks gives a gateway's blocks that overlap [from, to) in order of their start.
func (s *Store) Blocks(ctx context.Context, gateway string, from, to time.Time) iter.Seq2[*block.Block, error] {
	return func(yield func(*block.Block, error) bool) {
		var longest int64
		err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(longest), 0) FROM watermark WHERE gateway = ?`, gateway).Scan(&longest)
		if err != nil {
			yield(nil, fmt.Errorf("read blocks of %q: %w", gateway, err))
			return
		}
		// start reaches back far enough for the longest block, so that the index bounds both ends.
		next := cursor{start: from.UnixMicro() - longest}
		for {
			bodies, after, err := s.page(ctx, gateway, next, from.UnixMicro(), to.UnixMicro())
			if err != nil {
				yield(nil, fmt.Errorf("read blocks of %q: %w", gateway, err))
				return
			}
			for _, body := range bodies {
				if !yield(block.Decode(body)) {
					return
				}
			}
			if len(bodies) < page {
				return
			}
			next = after
		}
	}
}

// cursor is a place in the order of blocks.
type cursor struct{ start, id int64 }

func (s *Store) page(ctx context.Context, gateway string, c cursor, from, to int64) ([][]byte, cursor, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT start, id, body FROM block
		WHERE gateway = ?1 AND start >= ?2 AND (start, id) > (?2, ?3) AND start < ?5 AND finish > ?4
		ORDER BY start, id LIMIT ?6`, gateway, c.start, c.id, from, to, page)
	if err != nil {
		return nil, c, err
	}
	defer rows.Close()
	var bodies [][]byte
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&c.start, &c.id, &body); err != nil {
			return nil, c, err
		}
		bodies = append(bodies, body)
	}
	return slices.Clip(bodies), c, rows.Err()
}
