package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// SetFreeze keeps what stops all rollouts.
func (s *Store) SetFreeze(ctx context.Context, f centre.Freeze, act store.Event) error {
	body, err := json.Marshal(f)
	if err == nil {
		err = s.inTx(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `INSERT INTO freeze (one, body) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET body = excluded.body`, string(body)); err != nil {
				return err
			}
			return appendActs(ctx, tx, []store.Event{act})
		})
	}
	if err != nil {
		return fmt.Errorf("save the freeze: %w", err)
	}
	return nil
}

// Freeze gives what stops all rollouts.
func (s *Store) Freeze(ctx context.Context) (centre.Freeze, error) {
	var (
		f    centre.Freeze
		body string
	)
	err := s.read.QueryRowContext(ctx, `SELECT body FROM freeze`).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &f)
	}
	if err != nil {
		return f, fmt.Errorf("read the freeze: %w", err)
	}
	return f, nil
}

// SaveList puts a list in force.
func (s *Store) SaveList(ctx context.Context, l store.List, act store.Event) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		var last int64
		if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM list`).Scan(&last); err != nil {
			return err
		}
		if l.Number <= uint64(last) || l.Number > 1<<62 {
			return fmt.Errorf("%d, in force is %d: %w", l.Number, last, store.ErrOld)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO list (number, bundle, since, by) VALUES (?, ?, ?, ?)`,
			int64(l.Number), l.Bytes, micros(l.Since), l.By); err != nil {
			return err
		}
		return appendActs(ctx, tx, []store.Event{act})
	})
	if err != nil {
		return fmt.Errorf("save list: %w", err)
	}
	return nil
}

// List gives the list in force.
func (s *Store) List(ctx context.Context) (store.List, error) {
	var (
		l             store.List
		number, since int64
	)
	err := s.read.QueryRowContext(ctx, `SELECT number, bundle, since, by FROM list ORDER BY number DESC LIMIT 1`).Scan(&number, &l.Bytes, &since, &l.By)
	if err != nil {
		return l, missing(err, "list", "in force")
	}
	l.Number, l.Since = uint64(number), fromMicros(since)
	return l, nil
}

// AskKeys adds networks for which gateways are to prove a key.
func (s *Store) AskKeys(ctx context.Context, networks map[string][]string) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for gateway, all := range networks {
			if err := each(ctx, tx, `INSERT INTO asked_key (gateway, network) VALUES (?, ?) ON CONFLICT DO NOTHING`, all,
				func(n string) ([]any, error) { return []any{gateway, n}, nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save which keys are asked for: %w", err)
	}
	return nil
}

// AskedKeys gives the networks that were ever asked for, by gateway.
func (s *Store) AskedKeys(ctx context.Context) (map[string][]string, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT gateway, network FROM asked_key ORDER BY gateway, network`)
	if err != nil {
		return nil, fmt.Errorf("read which keys are asked for: %w", err)
	}
	pairs, err := collect(rows, "which keys are asked for", func(row interface{ Scan(...any) error }) (p [2]string, err error) {
		return p, row.Scan(&p[0], &p[1])
	})
	all := map[string][]string{}
	for _, p := range pairs {
		all[p[0]] = append(all[p[0]], p[1])
	}
	return all, err
}
