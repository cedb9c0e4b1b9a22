package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// SaveProofs appends proofs of a gateway; see store.Proofs.
func (s *Store) SaveProofs(ctx context.Context, gateway string, device []byte, proofs []identity.Proof, at time.Time) error {
	sum := sha256.Sum256(device)
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for _, p := range proofs {
			body, err := json.Marshal(p)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO proof (gateway, device, hash, body, arrived) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (gateway, hash) DO NOTHING`, gateway, sum[:], p.Hash(), body, micros(at)); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM proof WHERE gateway = ? AND device = ?`, gateway, sum[:]).Scan(&n); err != nil {
			return err
		}
		if n > store.MaxProofs {
			return store.ErrFull
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save proofs of %q: %w", gateway, err)
	}
	return nil
}

// Proofs gives all proofs, by gateway, the oldest first.
func (s *Store) Proofs(ctx context.Context) ([]centre.Keys, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT gateway, body, arrived FROM proof ORDER BY gateway, id`)
	if err != nil {
		return nil, fmt.Errorf("read proofs: %w", err)
	}
	var all []centre.Keys
	_, err = collect(rows, "proofs", func(row interface{ Scan(...any) error }) (struct{}, error) {
		var (
			gateway string
			body    []byte
			arrived int64
			p       identity.Proof
		)
		if err := row.Scan(&gateway, &body, &arrived); err != nil {
			return struct{}{}, err
		}
		if len(all) == 0 || all[len(all)-1].Gateway != gateway {
			all = append(all, centre.Keys{Gateway: gateway})
		}
		k := &all[len(all)-1]
		k.Arrived = append(k.Arrived, fromMicros(arrived))
		err := json.Unmarshal(body, &p)
		k.Proofs = append(k.Proofs, p)
		return struct{}{}, err
	})
	return all, err
}

// SaveBoots keeps a gateway's boots.
func (s *Store) SaveBoots(ctx context.Context, gateway string, boots store.Boots) error {
	body, err := json.Marshal(boots)
	if err == nil {
		_, err = s.write.ExecContext(ctx, `INSERT INTO boots (gateway, body) VALUES (?, ?)
			ON CONFLICT (gateway) DO UPDATE SET body = excluded.body`, gateway, body)
	}
	if err != nil {
		return fmt.Errorf("save boots of %q: %w", gateway, err)
	}
	return nil
}

// Boots gives those of all gateways.
func (s *Store) Boots(ctx context.Context) (map[string]store.Boots, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT gateway, body FROM boots`)
	if err != nil {
		return nil, fmt.Errorf("read boots: %w", err)
	}
	all := map[string]store.Boots{}
	_, err = collect(rows, "boots", func(row interface{ Scan(...any) error }) (struct{}, error) {
		var (
			gateway string
			body    []byte
			b       store.Boots
		)
		if err := row.Scan(&gateway, &body); err != nil {
			return struct{}{}, err
		}
		err := json.Unmarshal(body, &b)
		all[gateway] = b
		return struct{}{}, err
	})
	return all, err
}
