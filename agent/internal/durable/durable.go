// Package durable writes small files so that a power cut leaves the old one or
// the new one, never a part of either.
package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// WriteFile replaces the file at path, or makes it, with the mode. A
// folder that is missing is made for the owner and the group. What a writer of the
// same file left when it was killed goes.
func WriteFile(path string, text []byte, mode os.FileMode) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	unfinished := "." + filepath.Base(path) + "."
	sweep(dir, unfinished)
	f, err := os.CreateTemp(dir, unfinished+"*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// abandoned is how old an unfinished file is that nobody writes any more.
const abandoned = time.Minute

// sweep removes unfinished files that were abandoned. That it could not is no
// reason not to write.
func sweep(dir, unfinished string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), unfinished) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// SyncDir makes renames and removals in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
