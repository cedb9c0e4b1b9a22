package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

const (
	sysctlRoot = "/proc/sys"
	bootFile   = "/proc/sys/kernel/random/boot_id"
)

// settings are the sysctls that we wrote, with the values that they had before
// us. They are on disk before the first write, so that a power cut cannot make
// us take our own value for the host's.
type settings struct {
	path string

	mu     sync.Mutex
	former map[string]string // value before us, by path below /proc/sys
	boot   string            // in which that was
}

// remembered is the file.
type remembered struct {
	Boot   string            `json:"boot"`
	Former map[string]string `json:"former"`
}

// loadSettings reads what a former process remembered. A reboot has put all
// sysctls back already: what was remembered before it is void.
func loadSettings(path string) (*settings, error) {
	boot, err := os.ReadFile(bootFile)
	if err != nil {
		return nil, fmt.Errorf("tell this boot from the last: %w", err)
	}
	s := &settings{path: path, boot: strings.TrimSpace(string(boot)), former: map[string]string{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the remembered sysctls: %w", err)
	}
	var r remembered
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("the remembered sysctls in %s: %w", path, err)
	}
	if r.Boot == s.boot && r.Former != nil {
		s.former = r.Former
	}
	return s, nil
}

// original is the value that a sysctl had before us; empty if it is not there.
func (s *settings) original(path string) string {
	s.mu.Lock()
	former, ok := s.former[path]
	s.mu.Unlock()
	if ok {
		return former
	}
	value, _ := readSysctl(path)
	return value
}

// observe lists what we wrote with the values of now; an empty value says that
// the link is gone. What belonged to a device of ours went with it.
func (s *settings) observe() ([]tunnels.Setting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []tunnels.Setting
	for _, path := range slices.Sorted(maps.Keys(s.former)) {
		value, err := readSysctl(path)
		if errors.Is(err, fs.ErrNotExist) && wireguard.Ours(linkOf(path)) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read sysctl %s: %w", path, err)
		}
		found = append(found, tunnels.Setting{Path: path, Value: value})
	}
	return found, nil
}

// set remembers the value that is there, and then writes ours.
func (s *settings) set(path, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := readSysctl(path)
	if err != nil {
		return err
	}
	if _, ok := s.former[path]; !ok {
		s.former[path] = now
		if err := s.save(); err != nil {
			delete(s.former, path)
			return fmt.Errorf("remember its value of now (%s): %w", now, err)
		}
	}
	if now == value {
		return nil
	}
	return writeSysctl(path, value)
}

// restore puts the former value back and forgets it.
func (s *settings) restore(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	former, ok := s.former[path]
	if !ok {
		return nil
	}
	now, err := readSysctl(path)
	if err == nil && now != former {
		err = writeSysctl(path, former)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(s.former, path)
	return s.save()
}

// forgetLink forgets what went with a link.
func (s *settings) forgetLink(link string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.former)
	maps.DeleteFunc(s.former, func(path, _ string) bool { return linkOf(path) == link })
	if len(s.former) == before {
		return nil
	}
	return s.save()
}

// save writes the file so that after a power cut it is the old or the new one,
// or takes it away when there is nothing to remember.
func (s *settings) save() error {
	// What went with a device of ours, also where we were killed before we could
	// forget it.
	maps.DeleteFunc(s.former, func(path, _ string) bool {
		_, err := readSysctl(path)
		return errors.Is(err, fs.ErrNotExist) && wireguard.Ours(linkOf(path))
	})
	dir := filepath.Dir(s.path)
	if len(s.former) == 0 {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(dir)
	}
	text, err := json.MarshalIndent(remembered{s.boot, s.former}, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".sysctls-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (h *Host) applySetting(s tunnels.Step) error {
	path := s.Setting.Path
	if !filepath.IsLocal(path) || !strings.HasPrefix(filepath.Clean(path), "net/") {
		return fmt.Errorf("refused to write sysctl %q: only those below net/ are ours to write", path)
	}
	var err error
	if s.Op == tunnels.Remove {
		err = h.settings.restore(path)
	} else {
		err = h.settings.set(path, s.Setting.Value)
	}
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", path, err)
	}
	return nil
}

func readSysctl(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(sysctlRoot, path))
	return strings.TrimSpace(string(text)), err
}

func writeSysctl(path, value string) error {
	f, err := os.OpenFile(filepath.Join(sysctlRoot, path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// linkOf is the link that a sysctl belongs to; empty: none.
func linkOf(path string) string {
	part := strings.Split(path, "/")
	if len(part) == 5 && part[0] == "net" && part[2] == "conf" {
		return part[3]
	}
	return ""
}
