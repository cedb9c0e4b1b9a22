package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// What arrived over an hour (in microseconds) later than now came when the
// collector's clock was wrong.
const saveSnapshot = `INSERT INTO seen (gateway, at, snapshot, arrived) VALUES (?1, ?2, ?3, ?2)
	ON CONFLICT (gateway) DO UPDATE SET
	at = CASE WHEN at > excluded.at + 3600000000 THEN excluded.at ELSE max(at, excluded.at) END,
	snapshot = excluded.snapshot, arrived = excluded.arrived
	WHERE arrived IS NULL OR arrived <= excluded.arrived OR arrived > excluded.arrived + 3600000000`

// SaveSnapshot keeps the snapshot unless a later one has come.
func (s *Store) SaveSnapshot(ctx context.Context, gateway string, snap block.Snapshot, arrived time.Time) error {
	return s.SaveSnapshots(ctx, []store.Heard{{Gateway: gateway, Snapshot: snap, At: arrived}})
}

// SaveSnapshots keeps many at once.
func (s *Store) SaveSnapshots(ctx context.Context, all []store.Heard) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		return each(ctx, tx, saveSnapshot, all, func(h store.Heard) ([]any, error) {
			body, err := json.Marshal(h.Snapshot)
			return []any{h.Gateway, micros(h.At), body}, err
		})
	})
	if err != nil {
		return fmt.Errorf("save %d snapshots: %w", len(all), err)
	}
	return nil
}

// Heard gives the newest snapshot of every gateway, by name.
func (s *Store) Heard(ctx context.Context) ([]store.Heard, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT gateway, snapshot, arrived FROM seen WHERE snapshot IS NOT NULL ORDER BY gateway`)
	if err != nil {
		return nil, fmt.Errorf("read snapshots: %w", err)
	}
	return collect(rows, "snapshots", func(row interface{ Scan(...any) error }) (store.Heard, error) {
		var (
			h       store.Heard
			body    []byte
			arrived int64
		)
		if err := row.Scan(&h.Gateway, &body, &arrived); err != nil {
			return h, err
		}
		h.At = fromMicros(arrived)
		return h, json.Unmarshal(body, &h.Snapshot)
	})
}

// Snapshot gives the newest snapshot and when it arrived.
func (s *Store) Snapshot(ctx context.Context, gateway string) (block.Snapshot, time.Time, error) {
	var (
		snap    block.Snapshot
		body    []byte
		arrived int64
	)
	err := s.read.QueryRowContext(ctx, `SELECT snapshot, arrived FROM seen
		WHERE gateway = ? AND snapshot IS NOT NULL`, gateway).Scan(&body, &arrived)
	if err != nil {
		return snap, time.Time{}, missing(err, "snapshot of", gateway)
	}
	if err := json.Unmarshal(body, &snap); err != nil {
		return snap, time.Time{}, fmt.Errorf("read snapshot of %q: %w", gateway, err)
	}
	return snap, fromMicros(arrived), nil
}

// SaveReport keeps a month's report in the place of an earlier one.
func (s *Store) SaveReport(ctx context.Context, site, month string, body []byte) error {
	_, err := s.write.ExecContext(ctx, `INSERT INTO report (site, month, body) VALUES (?, ?, ?)
		ON CONFLICT (site, month) DO UPDATE SET body = excluded.body`, site, month, body)
	if err != nil {
		return fmt.Errorf("save report of %q for %s: %w", site, month, err)
	}
	return nil
}

// Report gives a month's report.
func (s *Store) Report(ctx context.Context, site, month string) ([]byte, error) {
	var body []byte
	err := s.read.QueryRowContext(ctx, `SELECT body FROM report WHERE site = ? AND month = ?`, site, month).Scan(&body)
	if err != nil {
		return nil, missing(err, "report of", site+" for "+month)
	}
	return body, nil
}

// heard records that a gateway was there.
func heard(ctx context.Context, tx *sql.Tx, gateway string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO seen (gateway, at) VALUES (?, ?)
		ON CONFLICT (gateway) DO UPDATE SET at = max(at, excluded.at)`, gateway, micros(at))
	return err
}
