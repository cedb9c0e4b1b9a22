package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// migrations are the steps from an empty file to today's tables, in files
// named NUMBER-WHAT.sql, numbered from 1 without a gap. What has been released
// is never edited: a change is one more file with the next number.
//
//go:embed migrations
var migrations embed.FS

// step is one migration.
type step struct {
	to   int // user_version of the file when it is done
	name string
	sql  string
}

// steps reads the migrations in order of their numbers.
func steps() ([]step, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []step
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "-")
		to, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s: its name has no number", name)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, step{to, name, string(text)})
	}
	slices.SortFunc(all, func(a, b step) int { return a.to - b.to })
	for i, s := range all {
		if s.to != i+1 {
			return nil, fmt.Errorf("%s: step %d is missing, or there twice", s.name, i+1)
		}
	}
	return all, nil
}

// migrate takes the file to today's tables in one transaction, or refuses that
// of a newer program.
func migrate(ctx context.Context, db *sql.DB) error {
	all, err := steps()
	if err != nil {
		return err
	}
	return migrateTo(ctx, db, all)
}

func migrateTo(ctx context.Context, db *sql.DB, all []step) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var have int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	switch {
	case have == len(all):
		return nil
	case have > len(all):
		return fmt.Errorf("schema %d is of a newer program; this one knows %d", have, len(all))
	}
	for _, s := range all[have:] {
		if _, err := tx.ExecContext(ctx, s.sql); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(all))); err != nil {
		return err
	}
	return tx.Commit()
}
