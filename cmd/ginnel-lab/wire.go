package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// wire prints what a site's line carries until it is interrupted. With -w it
// writes a pcap file instead; the file is opened inside, where the caller's
// folders are at their own paths too.
func (l *live) wire(ctx context.Context, io cli.IO, args []string) error {
	fs := cli.Flags()
	file := fs.String("w", "", "")
	words, err := cli.Parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	line, err := l.county.Line(words[0])
	if err != nil {
		return err
	}
	if *file != "" {
		return l.writeWire(ctx, io, line, *file)
	}
	var mu sync.Mutex
	stop := line.Watch(func(f wan.Frame) {
		way := "<"
		if f.Direction == wan.Out {
			way = ">"
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(io.Out, "%s %s %s\n", f.At.Format("15:04:05.000000"), way, wan.Parse(f.Bytes))
	})
	defer stop()
	<-ctx.Done()
	return nil
}

func (l *live) writeWire(ctx context.Context, io cli.IO, line *wan.Link, file string) error {
	if !filepath.IsAbs(file) {
		file = filepath.Join(l.cwd, file)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	capture, err := wan.NewCapture(out)
	if err != nil {
		return err
	}
	stop := line.Watch(capture.See)
	<-ctx.Done()
	stop()
	n, err := capture.Frames()
	if err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "%d frames in %s\n", n, file)
	return out.Close()
}
