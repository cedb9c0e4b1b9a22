package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// SaveSnapshot keeps the snapshot unless a later one has come.
func (s *Store) SaveSnapshot(ctx context.Context, gateway string, snap block.Snapshot, arrived time.Time) error {
	body, err := json.Marshal(snap)
	if err == nil {
		_, err = s.write.ExecContext(ctx, `INSERT INTO seen (gateway, at, snapshot, arrived) VALUES (?1, ?2, ?3, ?2)
			ON CONFLICT (gateway) DO UPDATE SET at = max(at, excluded.at),
			snapshot = excluded.snapshot, arrived = excluded.arrived
			WHERE arrived IS NULL OR arrived <= excluded.arrived`,
			gateway, micros(arrived), body)
	}
	if err != nil {
		return fmt.Errorf("save snapshot of %q: %w", gateway, err)
	}
	return nil
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
