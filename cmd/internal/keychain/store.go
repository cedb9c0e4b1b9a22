package keychain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/identity"
)

// Store is the folder of pack secrets, a file for each gateway. They belong to
// the operator who made the packs: not in git, never at the collector.
type Store struct{ Dir string }

// StoreVariable is the environment variable that names the folder.
const StoreVariable = "GINNEL_KEYSTORE"

// OpenStore is the folder that the environment names, or packs in the user's
// own config folder. It is made when something is put into it.
func OpenStore() (Store, error) {
	if dir := os.Getenv(StoreVariable); dir != "" {
		return Store{dir}, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return Store{}, fmt.Errorf("find the folder of pack secrets: %w", err)
	}
	return Store{filepath.Join(dir, "ginnel", "packs")}, nil
}

// Path is the file of a gateway.
func (s Store) Path(gateway string) string { return filepath.Join(s.Dir, gateway) }

// most is how many packs of a gateway are remembered: one that was made anew
// does not void what the one before it proved.
const most = 8

// Secrets gives those of a gateway's packs, newest first; none is no error.
func (s Store) Secrets(gateway string) ([]identity.Secret, error) {
	path := s.Path(gateway)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || !identity.ValidName(gateway) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a pack's secret: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets others read a pack's secret; chmod 600 it", path, st.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a pack's secret: %w", err)
	}
	var all []identity.Secret
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		one, err := identity.ParseSecret(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, one)
	}
	slices.Reverse(all)
	return all, nil
}

// Add remembers the secret of a gateway's new pack. It is durable when Add returns.
func (s Store) Add(gateway string, secret identity.Secret) error {
	if !identity.ValidName(gateway) {
		return fmt.Errorf("keep a pack's secret: %q is not a name", gateway)
	}
	all, err := s.Secrets(gateway)
	if err != nil {
		return err
	}
	return s.write(gateway, append([]identity.Secret{secret}, all...))
}

// Drop forgets the newest secret, of a pack that came to nothing.
func (s Store) Drop(gateway string) error {
	all, err := s.Secrets(gateway)
	switch {
	case err != nil || len(all) == 0:
		return err
	case len(all) == 1:
		return os.Remove(s.Path(gateway))
	}
	return s.write(gateway, all[1:])
}

func (s Store) write(gateway string, newestFirst []identity.Secret) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of pack secrets: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Secrets of the site packs of %s, the newest last. Whoever has one can\n# pass a key of theirs off as this gateway's. Never into git.\n", gateway)
	for _, one := range slices.Backward(newestFirst[:min(most, len(newestFirst))]) {
		fmt.Fprintln(&text, one.Reveal())
	}
	if err := replace(s.Path(gateway), text.String()); err != nil {
		return fmt.Errorf("keep a pack's secret: %w", err)
	}
	return nil
}

// replace puts text, readable by its owner only, in the place of a file; after a
// power cut one of the two is there.
func replace(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
