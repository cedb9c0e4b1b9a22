// Package sqlite keeps the collector's store in one SQLite file: WAL, an fsync
// at every commit, one connection that writes and a few that read.
//
// How many copies there are of that file, and where, is the operator's
// business: Backup makes one while the collector runs.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// checkpointEvery bounds the write-ahead log: left to itself it grows for as
// long as some reader is always active.
const checkpointEvery = time.Minute

// Store is a store.Store in a file.
type Store struct {
	file        string
	write, read *sql.DB
	stop        context.CancelFunc
	checkpoints sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open opens the file, or makes it with mode 0600.
func Open(ctx context.Context, file string, log *slog.Logger) (*Store, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{file: file}
	if s.write, err = open(file, 1, "&_txlock=immediate"); err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.write); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", file, err), s.write.Close())
	}
	if s.read, err = open(file, 4, "&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.checkpoints.Go(func() { s.checkpoint(ctx, log) })
	return s, nil
}

func open(file string, connections int, more string) (*sql.DB, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	name := (&url.URL{Scheme: "file", Path: abs}).String() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_pragma=foreign_keys(1)&_pragma=journal_size_limit(16777216)" + more
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// checkpoint empties the write-ahead log from time to time.
func (s *Store) checkpoint(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil && ctx.Err() == nil {
			log.Warn("checkpoint of the store failed", "err", err)
		}
	}
}

// Backup copies the store as it is now into file, which must not exist.
func (s *Store) Backup(ctx context.Context, file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer f.Close()
	// On a connection of its own: the reading ones may not, and ingest goes on.
	db, err := open(s.file, 1, "")
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer db.Close()
	// An empty file is what VACUUM INTO accepts besides none, and keeps its mode.
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", file); err != nil {
		return fmt.Errorf("back up to %s: %w", file, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("back up to %s: %w", file, err)
	}
	return syncDir(filepath.Dir(file))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer d.Close()
	return d.Sync()
}

// Check reads the whole file and says what is wrong with it.
func (s *Store) Check(ctx context.Context) error {
	var said string
	if err := s.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return fmt.Errorf("check the store: %w", err)
	}
	if said != "ok" {
		return fmt.Errorf("the store is damaged: %s", said)
	}
	return nil
}

// Close ends the store. Calls that are under way come to their end first.
func (s *Store) Close() error {
	s.stop()
	s.checkpoints.Wait()
	return errors.Join(s.read.Close(), s.write.Close())
}

// inTx runs f in one transaction of the writing connection.
func (s *Store) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// micros and fromMicros keep times; the zero time is 0 both ways.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// missing turns no row into store.ErrNotFound, with what was looked for.
func missing(err error, what, name string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s %q: %w", what, name, store.ErrNotFound)
	}
	return fmt.Errorf("read %s %q: %w", what, name, err)
}
