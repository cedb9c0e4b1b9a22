package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// plan is what of a rollout never changes, as JSON.
type plan struct {
	Name   string       `json:"name"`
	By     string       `json:"by"`
	Rings  []string     `json:"rings"`
	Window string       `json:"window,omitempty"`
	Pause  centre.Pause `json:"pause"`
}

// part is what of a push never changes, as JSON.
type part struct {
	Ring   int      `json:"ring"`
	Window string   `json:"window,omitempty"`
	Needs  []string `json:"needs,omitempty"`
	Apart  []string `json:"apart,omitempty"`
}

// StartRollout records a rollout; see store.Rollouts.
func (s *Store) StartRollout(ctx context.Context, r store.Rollout, pushes []store.Push, bundles []store.Bundle, acts []store.Event) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		var open string
		err := tx.QueryRowContext(ctx, `SELECT id FROM rollout WHERE ended = 0`).Scan(&open)
		switch {
		case err == nil && r.Ended.IsZero():
			return fmt.Errorf("%s: %w", open, store.ErrBusy)
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		}
		body, err := json.Marshal(plan{r.Name, r.By, r.Rings, r.Window, r.Pause})
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO rollout (id, plan, state, reason, ring, live, began, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			r.ID, string(body), r.State, r.Reason, r.Ring, r.Live, micros(r.Began), micros(r.Ended)); err != nil {
			return err
		}
		if err := insertConfigs(ctx, tx, bundles); err != nil {
			return err
		}
		if err := insertPushes(ctx, tx, r.ID, pushes); err != nil {
			return err
		}
		return appendActs(ctx, tx, acts)
	})
	if err != nil {
		return fmt.Errorf("start rollout %q: %w", r.ID, err)
	}
	return nil
}

func insertConfigs(ctx context.Context, tx *sql.Tx, bundles []store.Bundle) error {
	return each(ctx, tx, `INSERT INTO config (hash, gateway, generation, bundle) VALUES (unhex(?), ?, ?, ?) ON CONFLICT (hash) DO NOTHING`,
		bundles, func(b store.Bundle) ([]any, error) {
			return []any{b.Hash, b.Gateway, int64(b.Generation), b.Bytes}, nil
		})
}

func insertPushes(ctx context.Context, tx *sql.Tx, id string, pushes []store.Push) error {
	place := 0
	return each(ctx, tx, `INSERT INTO push (rollout, place, gateway, plan, config, back, progress) VALUES (?, ?, ?, ?, unhex(?), nullif(unhex(?), x''), ?)`,
		pushes, func(p store.Push) ([]any, error) {
			body, err := json.Marshal(part{p.Ring, p.Window, p.Needs, p.Apart})
			place++
			return []any{id, place, p.Gateway, string(body), p.Config.Hash, p.Back.Hash, string(p.Progress)}, err
		})
}

// each runs one statement for every one of all.
func each[T any](ctx context.Context, tx *sql.Tx, query string, all []T, args func(T) ([]any, error)) error {
	if len(all) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, v := range all {
		a, err := args(v)
		if err != nil {
			return err
		}
		if _, err := stmt.ExecContext(ctx, a...); err != nil {
			return err
		}
	}
	return nil
}

// SaveRollout keeps a step of a rollout; see store.Rollouts.
func (s *Store) SaveRollout(ctx context.Context, r store.Rollout, changed []store.Push, wanted []store.Wanted, acts []store.Event) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE rollout SET state = ?, reason = ?, ring = ?, live = ?, ended = ? WHERE id = ?`,
			r.State, r.Reason, r.Ring, r.Live, micros(r.Ended), r.ID)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return errors.Join(store.ErrNotFound, err)
		}
		if err := each(ctx, tx, `UPDATE push SET progress = ? WHERE rollout = ? AND gateway = ?`, changed, func(p store.Push) ([]any, error) {
			return []any{string(p.Progress), r.ID, p.Gateway}, nil
		}); err != nil {
			return err
		}
		if err := each(ctx, tx, `INSERT INTO wanted (gateway, hash, generation, rollout, since, stopped) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (gateway) DO UPDATE SET hash = excluded.hash, generation = excluded.generation, rollout = excluded.rollout,
			since = excluded.since, stopped = excluded.stopped`, wanted, func(w store.Wanted) ([]any, error) {
			return []any{w.Gateway, w.Hash, int64(w.Generation), w.Rollout, micros(w.Since), w.Stopped}, nil
		}); err != nil {
			return err
		}
		return appendActs(ctx, tx, acts)
	})
	if err != nil {
		return fmt.Errorf("save rollout %q: %w", r.ID, err)
	}
	return nil
}

const rolloutColumns = `SELECT id, plan, state, reason, ring, live, began, ended FROM rollout`

func scanRollout(row interface{ Scan(...any) error }) (store.Rollout, error) {
	var (
		r            store.Rollout
		p            plan
		body         string
		began, ended int64
	)
	if err := row.Scan(&r.ID, &body, &r.State, &r.Reason, &r.Ring, &r.Live, &began, &ended); err != nil {
		return r, err
	}
	err := json.Unmarshal([]byte(body), &p)
	r.Name, r.By, r.Rings, r.Window, r.Pause = p.Name, p.By, p.Rings, p.Window, p.Pause
	r.Began, r.Ended = fromMicros(began), fromMicros(ended)
	return r, err
}

// Rollouts gives all rollouts, the newest first.
func (s *Store) Rollouts(ctx context.Context) ([]store.Rollout, error) {
	rows, err := s.read.QueryContext(ctx, rolloutColumns+` ORDER BY number DESC`)
	if err != nil {
		return nil, fmt.Errorf("read rollouts: %w", err)
	}
	return collect(rows, "rollouts", scanRollout)
}

// Rollout gives one.
func (s *Store) Rollout(ctx context.Context, id string) (store.Rollout, error) {
	r, err := scanRollout(s.read.QueryRowContext(ctx, rolloutColumns+` WHERE id = ?`, id))
	if err != nil {
		return store.Rollout{}, missing(err, "rollout", id)
	}
	return r, nil
}

// Pushes gives a rollout's, in the order they were given.
func (s *Store) Pushes(ctx context.Context, id string) ([]store.Push, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT p.gateway, p.plan, p.progress, lower(hex(c.hash)), c.generation, lower(hex(b.hash)), coalesce(b.generation, 0)
		FROM push p JOIN config c ON c.hash = p.config LEFT JOIN config b ON b.hash = p.back WHERE p.rollout = ? ORDER BY p.place`, id)
	if err != nil {
		return nil, fmt.Errorf("read pushes of rollout %q: %w", id, err)
	}
	return collect(rows, "pushes", func(row interface{ Scan(...any) error }) (store.Push, error) {
		var (
			p                  store.Push
			body, progress     string
			generation, backTo int64
		)
		if err := row.Scan(&p.Gateway, &body, &progress, &p.Config.Hash, &generation, &p.Back.Hash, &backTo); err != nil {
			return p, err
		}
		var of part
		err := json.Unmarshal([]byte(body), &of)
		p.Ring, p.Window, p.Needs, p.Apart = of.Ring, of.Window, of.Needs, of.Apart
		p.Config.Generation, p.Back.Generation, p.Progress = uint64(generation), uint64(backTo), []byte(progress)
		return p, err
	})
}

// Wanted gives what was last wanted of each gateway, by name.
func (s *Store) Wanted(ctx context.Context) ([]store.Wanted, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT gateway, hash, generation, rollout, since, stopped FROM wanted ORDER BY gateway`)
	if err != nil {
		return nil, fmt.Errorf("read what is wanted: %w", err)
	}
	return collect(rows, "what is wanted", func(row interface{ Scan(...any) error }) (store.Wanted, error) {
		var (
			w                 store.Wanted
			generation, since int64
		)
		err := row.Scan(&w.Gateway, &w.Hash, &generation, &w.Rollout, &since, &w.Stopped)
		w.Generation, w.Since = uint64(generation), fromMicros(since)
		return w, err
	})
}

// Bundles gives those that are kept.
func (s *Store) Bundles(ctx context.Context, hashes []string) ([]store.Bundle, error) {
	var all []store.Bundle
	for _, hash := range hashes {
		if raw, err := hex.DecodeString(hash); err != nil || len(raw) != 32 {
			continue // nothing has that hash
		}
		b := store.Bundle{ConfigRef: centre.ConfigRef{Hash: hash}}
		var generation int64
		err := s.read.QueryRowContext(ctx, `SELECT gateway, generation, bundle FROM config WHERE hash = unhex(?)`, hash).
			Scan(&b.Gateway, &generation, &b.Bytes)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue
		case err != nil:
			return nil, fmt.Errorf("read config %s: %w", hash, err)
		}
		b.Generation = uint64(generation)
		all = append(all, b)
	}
	return all, nil
}
