package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// Audit appends one act.
func (s *Store) Audit(ctx context.Context, e store.Event) error {
	if _, err := s.write.ExecContext(ctx, insertAct, actArgs(e)...); err != nil {
		return fmt.Errorf("append to audit log: %w", err)
	}
	return nil
}

const insertAct = `INSERT INTO audit (at, actor, origin, act, object, detail, was, became) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

func actArgs(e store.Event) []any {
	return []any{micros(e.At), e.Actor, e.From, e.Act, e.Object, e.Detail, e.Old, e.New}
}

// appendActs appends in the transaction that does what they tell.
func appendActs(ctx context.Context, tx *sql.Tx, acts []store.Event) error {
	return each(ctx, tx, insertAct, acts, func(e store.Event) ([]any, error) { return actArgs(e), nil })
}

// Events gives the newest acts, the newest first.
func (s *Store) Events(ctx context.Context, limit int) ([]store.Event, error) {
	return s.FindEvents(ctx, store.EventFilter{Limit: limit})
}

// FindEvents gives the acts that f describes.
func (s *Store) FindEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error) {
	before := f.Before
	if before == 0 {
		before = math.MaxInt64
	}
	where, args := []string{"id > ?", "id < ?"}, []any{f.After, before}
	for _, c := range []struct{ column, value string }{{"actor", f.Actor}, {"object", f.Object}} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	order := "DESC"
	if f.OldestFirst {
		order = "ASC"
	}
	rows, err := s.read.QueryContext(ctx, `SELECT id, at, actor, origin, act, object, detail, was, became FROM audit
		WHERE `+strings.Join(where, " AND ")+` ORDER BY id `+order+` LIMIT ?`, append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return collect(rows, "audit log", func(row interface{ Scan(...any) error }) (store.Event, error) {
		var (
			e  store.Event
			at int64
		)
		err := row.Scan(&e.ID, &at, &e.Actor, &e.From, &e.Act, &e.Object, &e.Detail, &e.Old, &e.New)
		e.At = fromMicros(at)
		return e, err
	})
}

// Exported is up to which act a sink of the log has them; 0: none yet.
func (s *Store) Exported(ctx context.Context, sink string) (int64, error) {
	var id int64
	err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(upto), 0) FROM exported WHERE sink = ?`, sink).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("read how far %s is: %w", sink, err)
	}
	return id, nil
}

// SaveExported keeps up to which act a sink has them.
func (s *Store) SaveExported(ctx context.Context, sink string, id int64) error {
	_, err := s.write.ExecContext(ctx, `INSERT INTO exported (sink, upto) VALUES (?, ?)
		ON CONFLICT (sink) DO UPDATE SET upto = excluded.upto`, sink, id)
	if err != nil {
		return fmt.Errorf("keep how far %s is: %w", sink, err)
	}
	return nil
}
