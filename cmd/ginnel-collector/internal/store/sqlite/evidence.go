package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// SaveEvidence keeps a document, and of the gateway's the newest.
func (s *Store) SaveEvidence(ctx context.Context, gateway, id string, body []byte, arrived time.Time) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO evidence (gateway, id, arrived, body) VALUES (?, ?, ?, ?)
			ON CONFLICT (gateway, id) DO NOTHING`, gateway, id, micros(arrived), body); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM evidence WHERE gateway = ?1 AND id NOT IN
			(SELECT id FROM evidence WHERE gateway = ?1 ORDER BY id DESC LIMIT ?2)`, gateway, store.MaxEvidence)
		return err
	})
	if err != nil {
		return fmt.Errorf("save evidence of %q: %w", gateway, err)
	}
	return nil
}

// EvidenceOf gives the documents of a gateway, the newest first.
func (s *Store) EvidenceOf(ctx context.Context, gateway string) ([]*evidence.Bundle, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT body FROM evidence WHERE gateway = ? ORDER BY id DESC`, gateway)
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	return collect(rows, "evidence", scanEvidence)
}

// EvidenceNamed gives one document.
func (s *Store) EvidenceNamed(ctx context.Context, gateway, id string) (*evidence.Bundle, error) {
	b, err := scanEvidence(s.read.QueryRowContext(ctx, `SELECT body FROM evidence WHERE gateway = ? AND id = ?`, gateway, id))
	if err != nil {
		return nil, missing(err, "evidence", id)
	}
	return b, nil
}

func scanEvidence(row interface{ Scan(...any) error }) (*evidence.Bundle, error) {
	var body []byte
	if err := row.Scan(&body); err != nil {
		return nil, err
	}
	return evidence.Decode(body)
}
