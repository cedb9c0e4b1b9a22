package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// said is a log handler that prints what a plugin writes, for its author, and
// nothing else: what became of the program the command says itself.
type said struct{ w io.Writer }

func (s *said) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (s *said) WithAttrs([]slog.Attr) slog.Handler           { return s }
func (s *said) WithGroup(string) slog.Handler                { return s }

func (s *said) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "line" {
			fmt.Fprintf(s.w, "it says: %s\n", cli.Printable(a.Value.String()))
		}
		return true
	})
	return nil
}
