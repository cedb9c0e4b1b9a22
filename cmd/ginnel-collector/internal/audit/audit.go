// Package audit carries the log of acts out of the store: as lines of JSON to a
// file, and to syslog. It only reads the log, which nobody can change.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// every is how often the store is looked at: commands of another process add
// to it, too.
const every = time.Second

// batch is how many acts are carried at once.
const batch = 500

// Store is what this package needs of the collector's.
type Store interface {
	FindEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error)
	// Exported is up to which act a sink has them; SaveExported keeps it.
	Exported(ctx context.Context, sink string) (int64, error)
	SaveExported(ctx context.Context, sink string, id int64) error
}

// ActOf is an event as the API and the exports tell it.
func ActOf(e store.Event) centre.Act {
	return centre.Act{ID: e.ID, At: e.At, Actor: e.Actor, From: e.From, Act: e.Act, Object: e.Object, Detail: e.Detail, Old: e.Old, New: e.New}
}

// Line is an act as one line of JSON.
func Line(e store.Event) ([]byte, error) {
	raw, err := json.Marshal(ActOf(e))
	return append(raw, '\n'), err
}

// Print writes the acts after an ID as lines of JSON, the oldest first, and,
// with follow, those to come, until ctx ends.
func Print(ctx context.Context, st Store, w io.Writer, after int64, follow bool) error {
	for {
		events, err := st.FindEvents(ctx, store.EventFilter{After: after, OldestFirst: true, Limit: batch})
		if err != nil {
			return unlessEnded(ctx, err)
		}
		for _, e := range events {
			line, err := Line(e)
			if err != nil {
				return err
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
			after = e.ID
		}
		switch {
		case len(events) == batch:
		case !follow || !wait(ctx, every):
			return nil
		}
	}
}

// Sink takes acts away. Send returns when they are as safe there as can be
// known.
type Sink interface {
	Name() string // by which the store remembers up to where it has come
	Send(ctx context.Context, events []store.Event) error
}

// Run carries every act to a sink, in order, until ctx ends. What the sink does
// not take is tried again: an act may come twice, and is never left out.
func Run(ctx context.Context, st Store, to Sink, log *slog.Logger) error {
	after, err := st.Exported(ctx, to.Name())
	if err != nil {
		return unlessEnded(ctx, err)
	}
	failing := false
	for {
		n, err := carry(ctx, st, to, &after)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			log.Error("acts are not exported, trying on", "to", to.Name(), "err", err)
		case err == nil && failing:
			log.Info("acts are exported again", "to", to.Name())
		}
		failing = err != nil
		pause := every
		if failing {
			pause = 5 * every
		}
		if n < batch && !wait(ctx, pause) {
			return nil
		}
	}
}

// carry takes one batch to the sink, and gives how many that were.
func carry(ctx context.Context, st Store, to Sink, after *int64) (int, error) {
	events, err := st.FindEvents(ctx, store.EventFilter{After: *after, OldestFirst: true, Limit: batch})
	if err != nil || len(events) == 0 {
		return 0, err
	}
	if err := to.Send(ctx, events); err != nil {
		return 0, err
	}
	last := events[len(events)-1].ID
	if err := st.SaveExported(ctx, to.Name(), last); err != nil {
		return 0, err
	}
	*after = last
	return len(events), nil
}

// wait is false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// file appends to a file of lines.
type file string

// File is a sink that appends lines of JSON to a file, and makes it, with mode
// 0600, where it is not there: whoever turns log files over may move it away.
func File(path string) (Sink, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	f, err := os.OpenFile(abs, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return file(abs), f.Close()
}

func (f file) Name() string { return "file " + string(f) }

func (f file) Send(_ context.Context, events []store.Event) error {
	out, err := os.OpenFile(string(f), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	var text []byte
	for _, e := range events {
		line, err := Line(e)
		if err != nil {
			return err
		}
		text = append(text, line...)
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	return out.Sync()
}
