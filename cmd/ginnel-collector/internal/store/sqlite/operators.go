package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// AddOperator records an operator; see store.Operators.
func (s *Store) AddOperator(ctx context.Context, o store.Operator, acts ...store.Event) error {
	return s.changeOne(ctx, "add operator", o.Name, store.ErrUsed, acts, `INSERT INTO operator (name, organisation, serial, added, expires) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET organisation = excluded.organisation, serial = excluded.serial,
		added = excluded.added, expires = excluded.expires, removed = NULL WHERE removed IS NOT NULL`,
		o.Name, o.Organisation, o.Serial, micros(o.Added), micros(o.Expires))
}

// RemoveOperator makes an operator's certificate void.
func (s *Store) RemoveOperator(ctx context.Context, name string, at time.Time, acts ...store.Event) error {
	return s.changeOne(ctx, "remove operator", name, store.ErrNotFound, acts,
		`UPDATE operator SET removed = ? WHERE name = ? AND removed IS NULL`, micros(at), name)
}

// changeOne runs a statement that is to change one row, and gives none where it
// changed nothing.
func (s *Store) changeOne(ctx context.Context, what, name string, none error, acts []store.Event, query string, args ...any) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, none)
		}
		return appendActs(ctx, tx, acts)
	})
	if err != nil {
		return fmt.Errorf("%s %q: %w", what, name, err)
	}
	return nil
}

const operatorColumns = `SELECT name, organisation, serial, added, expires FROM operator WHERE removed IS NULL`

func scanOperator(row interface{ Scan(...any) error }) (store.Operator, error) {
	var (
		o              store.Operator
		added, expires int64
	)
	err := row.Scan(&o.Name, &o.Organisation, &o.Serial, &added, &expires)
	o.Added, o.Expires = fromMicros(added), fromMicros(expires)
	return o, err
}

// Operators gives those that were not removed, by name.
func (s *Store) Operators(ctx context.Context) ([]store.Operator, error) {
	rows, err := s.read.QueryContext(ctx, operatorColumns+` ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read operators: %w", err)
	}
	return collect(rows, "operators", scanOperator)
}

// Operator gives one that was not removed.
func (s *Store) Operator(ctx context.Context, name string) (store.Operator, error) {
	o, err := scanOperator(s.read.QueryRowContext(ctx, operatorColumns+` AND name = ?`, name))
	if err != nil {
		return store.Operator{}, missing(err, "operator", name)
	}
	return o, nil
}

// Organisations says whose each network is.
func (s *Store) Organisations(ctx context.Context) (map[string]string, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT name, organisation FROM network`)
	if err != nil {
		return nil, fmt.Errorf("read networks: %w", err)
	}
	pairs, err := collect(rows, "networks", func(row interface{ Scan(...any) error }) (p [2]string, err error) {
		return p, row.Scan(&p[0], &p[1])
	})
	of := map[string]string{}
	for _, p := range pairs {
		of[p[0]] = p[1]
	}
	return of, err
}

// SetOrganisations says whose the networks named are.
func (s *Store) SetOrganisations(ctx context.Context, of map[string]string, acts ...store.Event) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for network, organisation := range of {
			if _, err := tx.ExecContext(ctx, `INSERT INTO network (name, organisation) VALUES (?, ?)
				ON CONFLICT (name) DO UPDATE SET organisation = excluded.organisation`, network, organisation); err != nil {
				return err
			}
		}
		return appendActs(ctx, tx, acts)
	})
	if err != nil {
		return fmt.Errorf("set organisations: %w", err)
	}
	return nil
}
