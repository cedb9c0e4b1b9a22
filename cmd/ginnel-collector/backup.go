package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const backupHelp = `
FILE, a tar, must not exist. It has the store, with sites, blocks, configs,
operators and the log of acts, and the collector's authority. Whoever has it
can speak as this collector: keep it as you keep a key.`

// Files of a collector's data directory that a backup has.
const (
	caKeyFile  = "ca.key"
	caCertFile = "ca.crt"
)

// backupFiles are in the order in which a backup has them, and a restore puts
// them in place: the store, without which nothing is there, is the last.
var backupFiles = []string{caKeyFile, caCertFile, storeFile}

// backupCommand copies what a collector is.
func backupCommand(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	words, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	file := words[0]
	return withStore(ctx, *data, func(st *sqlite.Store) error {
		size, err := writeBackup(ctx, st, *data, file)
		if err != nil {
			return fmt.Errorf("back up to %s: %w", file, err)
		}
		_, err = fmt.Fprintf(std.Out, "%s: %d bytes. It has the authority's key: keep it as you keep a key.\n", file, size)
		return err
	})
}

// writeBackup makes the file whole, or not at all.
func writeBackup(ctx context.Context, st *sqlite.Store, data, file string) (size int64, err error) {
	if _, err := os.Lstat(file); err == nil {
		return 0, cli.WithHint(errors.New("it is there already"), "give it a name of its own, such as one with the date")
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), ".backup-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	store := filepath.Join(dir, storeFile)
	if err := st.Backup(ctx, store); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "tar"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, name := range backupFiles {
		from := filepath.Join(data, name)
		if name == storeFile {
			from = store
		}
		if err := addFile(w, from, name); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(w.Close(), f.Sync()); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := os.Link(f.Name(), file); err != nil { // unlike a rename, it replaces nothing
		return 0, err
	}
	return info.Size(), syncDir(filepath.Dir(file))
}

func addFile(w *tar.Writer, from, name string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: time.Now()}); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
