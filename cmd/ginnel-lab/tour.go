package main

import (
	"context"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func (l *live) tour(ctx context.Context, io cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	return nil
}
