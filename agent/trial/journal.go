package trial

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/internal/durable"
)

// Journal is a trial on disk, in three files, each replaced as a whole:
//
//	trial.json       the Record; with the new config while the trial is open
//	previous.toml    the config before the last good one, for `ginnel rollback`
//	last-good.toml   the one to go back to, which is also what runs at a boot
//
// The record is written before the first write to the host, and last-good.toml
// only once the new config is confirmed. So at any moment both configs are
// there, whole, and the record says which is to run.
type Journal struct {
	Dir      string // of trial.json and previous.toml; made where it is not there
	LastGood string // the file
}

func (j Journal) record() string   { return filepath.Join(j.Dir, "trial.json") }
func (j Journal) previous() string { return filepath.Join(j.Dir, "previous.toml") }

// Read gives the record. The error is fs.ErrNotExist where no config was ever
// accepted.
func (j Journal) Read() (Record, error) {
	var r Record
	text, err := os.ReadFile(j.record())
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", j.record(), err)
	}
	return r, nil
}

// Write replaces the record, for good.
func (j Journal) Write(r Record) error {
	text, err := json.Marshal(r.trimmed())
	if err != nil {
		return err
	}
	if err := durable.WriteFile(j.record(), text, 0o640); err != nil {
		return fmt.Errorf("write the trial's journal: %w", err)
	}
	return nil
}

// Good is the config that was kept last; nil: none was.
func (j Journal) Good() ([]byte, error) {
	text, err := os.ReadFile(j.LastGood)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// Keep makes the text of the record's bundle the last good config, and the one
// before it the previous one. It may be done again after a crash.
func (j Journal) Keep(r Record) error {
	text, err := r.text()
	if err != nil {
		return err
	}
	good, err := j.Good()
	if err != nil {
		return err
	}
	if hash(good) == r.Hash {
		return nil // it was done
	}
	if good != nil {
		if err := durable.WriteFile(j.previous(), good, 0o640); err != nil {
			return fmt.Errorf("keep the config before: %w", err)
		}
	} else if err := os.Remove(j.previous()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the config before: %w", err)
	}
	if err := durable.WriteFile(j.LastGood, text, 0o640); err != nil {
		return fmt.Errorf("keep the config for the next start: %w", err)
	}
	return nil
}

// kept reports whether the record's config is the last good one already: it was
// confirmed, and the crash came before the record could say so.
func (j Journal) kept(r Record) bool {
	good, err := j.Good()
	return err == nil && r.Phase.Open() && hash(good) == r.Hash
}

// Boots is the config that is to run when the gateway starts, under the kernel
// of that boot id, and what the record says of it; nil: none. A trial goes on
// over a restart of the agent and is gone back from after one of the gateway; a
// held one survives both. It writes nothing.
func (j Journal) Boots(boot string) (text []byte, r Record, err error) {
	r, err = j.Read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		good, _ := j.Good() // a damaged journal must not keep a site down
		return good, Record{}, err
	}
	switch {
	case r.Phase == Held, r.Phase == Trying && r.Boot == boot && !j.kept(r):
		text, err = r.text()
	case r.Phase == Overridden:
		text, err = j.overridden(r)
	default:
		text, err = j.Good()
	}
	if err != nil {
		good, _ := j.Good() // nor must one that lacks a part
		return good, Record{}, err
	}
	return text, r, nil
}

// Override is `ginnel rollback`: the config before the newest one is to run,
// until there is a newer one. Where a trial is open that is the last good one.
// The text is nil where there is none to go back to.
func (j Journal) Override(r Record) (text []byte, err error) {
	if r.Phase.Open() && !j.kept(r) {
		text, err = j.Good()
	} else {
		text, err = os.ReadFile(j.previous())
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && text == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.Phase = Overridden
	if err := j.Write(r); err != nil {
		return nil, err
	}
	return text, j.settle(r)
}

// overridden is the config before the one that a technician took away.
func (j Journal) overridden(r Record) ([]byte, error) {
	good, err := j.Good()
	if err != nil || hash(good) != r.Hash {
		return good, err
	}
	return os.ReadFile(j.previous())
}

// settle makes the config before an overridden one the last good one, unless
// that was done.
func (j Journal) settle(r Record) error {
	text, err := j.overridden(r)
	if err != nil {
		return err
	}
	if good, err := j.Good(); err != nil || hash(good) == hash(text) {
		return err
	}
	return durable.WriteFile(j.LastGood, text, 0o640)
}

// text is the config of the record's bundle, which is as its hash says.
func (r Record) text() ([]byte, error) {
	b, err := bundle.Parse(r.Bundle)
	if err == nil && b.Hash() != r.Hash {
		err = errors.New("it is not the config that was accepted")
	}
	if err != nil {
		return nil, fmt.Errorf("the config in the trial's journal: %w", err)
	}
	return b.Text, nil
}

func hash(text []byte) string {
	if text == nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
