package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const restoreHelp = `
No collector may run on DIR. Where one is there already, --force moves it to
DIR/before-restore-TIME. What was pushed since the backup is not known to it:
it begins with all rollouts frozen, and offers no gateway anything older than
what that one has accepted. ginnelctl plan shows where the fleet stands,
ginnelctl freeze --off lets rollouts go on.`

// frozenFor is how long a restored collector is frozen: until somebody ends it.
const frozenFor = 10 // years

func restoreCommand(ctx context.Context, std cli.IO, args []string) error {
	flags := cli.Flags()
	data := flags.String("data", defaultData, "")
	force := flags.Bool("force", false, "")
	words, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	f, err := os.Open(words[0])
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	unlock, err := lockData(*data)
	if err != nil {
		return cli.WithHint(err, "systemctl stop ginnel-collector")
	}
	defer unlock()
	aside, err := restore(ctx, f, *data, *force)
	if err != nil {
		return fmt.Errorf("restore from %s: %w", words[0], err)
	}
	if aside != "" {
		fmt.Fprintf(std.Out, "What was there is in %s.\n", aside)
	}
	_, err = fmt.Fprintf(std.Out, "Restored into %s. All rollouts are frozen: this collector does not know what was\n"+
		"pushed since. ginnelctl plan shows where the fleet stands; then ginnelctl freeze --off.\n", *data)
	return err
}

// restore puts a backup in place. Nothing of what is there is touched before the
// backup has been read whole and found good.
func restore(ctx context.Context, from io.Reader, data string, force bool) (aside string, err error) {
	present, err := presentFiles(data)
	if err != nil {
		return "", err
	}
	if len(present) > 0 && !force {
		return "", cli.WithHint(fmt.Errorf("there is a collector in %s already", data), "--force moves it aside")
	}
	fresh, err := os.MkdirTemp(data, ".restore-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	taken, err := unpack(from, fresh)
	if err == nil {
		err = prepare(ctx, fresh, taken)
	}
	if err == nil {
		err = likeItsFolder(data, fresh)
	}
	if err != nil {
		return "", err
	}
	if len(present) > 0 {
		aside = filepath.Join(data, "before-restore-"+time.Now().UTC().Format("20060102-150405"))
		if err := move(data, aside, present); err != nil {
			return aside, err
		}
	}
	for _, name := range backupFiles {
		if err := os.Rename(filepath.Join(fresh, name), filepath.Join(data, name)); err != nil {
			return aside, err
		}
	}
	return aside, syncDir(data)
}

// presentFiles are those of a collector that are in data. The files beside the
// store belong to it: another's store must never find them.
func presentFiles(data string) ([]string, error) {
	var all []string
	for _, name := range []string{storeFile, storeFile + "-wal", storeFile + "-shm", caCertFile, caKeyFile} {
		if _, err := os.Lstat(filepath.Join(data, name)); err == nil {
			all = append(all, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return all, nil
}

func move(data, to string, names []string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	if err := likeItsFolder(data, to); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(data, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return syncDir(to)
}

// unpack writes the files of a backup to dir, and says when it was taken.
func unpack(from io.Reader, dir string) (taken time.Time, err error) {
	r := tar.NewReader(from)
	for _, name := range backupFiles {
		h, err := r.Next()
		if err != nil || h.Name != name || h.Typeflag != tar.TypeReg {
			return taken, fmt.Errorf("it is no backup of a collector: %s is missing", name)
		}
		taken = h.ModTime
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return taken, err
		}
		_, err = io.Copy(f, r)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return taken, fmt.Errorf("%s is not whole: %w", name, err)
		}
	}
	return taken, nil
}

// prepare looks whether what was unpacked is a collector, and freezes it.
func prepare(ctx context.Context, dir string, taken time.Time) error {
	if err := control.CheckAuthority(dir); err != nil {
		return err
	}
	st, err := sqlite.Open(ctx, filepath.Join(dir, storeFile), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	now := time.Now()
	why := "restored from the backup of " + taken.UTC().Format("2006-01-02 15:04") + " UTC: compare with ginnelctl plan first"
	err = st.Check(ctx)
	if err == nil {
		err = st.SetFreeze(ctx, centre.Freeze{Until: now.AddDate(frozenFor, 0, 0), Why: why, By: access.Local},
			store.Event{At: now, Actor: access.Local, Act: "restore", Object: "collector", New: why})
	}
	if err := errors.Join(err, st.Close()); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, storeFile+"-wal")); err == nil {
		return errors.New("the store could not be closed whole")
	}
	return nil
}

// likeItsFolder gives path, and what is in it, to whom the folder belongs: a
// restore is made by root, and the collector is not.
func likeItsFolder(folder, path string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(owner.Uid), int(owner.Gid))
	})
}
