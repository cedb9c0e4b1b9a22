// Package trust is whom and what a gateway believes: the signers that it
// accepts, the newest generation that it ever accepted, and the list of what is
// shut out. It outlives reboots and power cuts in one small file, and is what
// keeps an old config, signed long ago, from being played again.
//
// It does not run a config and does not try one: that is agent/trial.
package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/internal/durable"
)

// Trust is what a gateway believes. Its methods may be called at once.
type Trust struct {
	file    string
	damaged error // of Salvage

	mu    sync.Mutex     // of what follows
	first bundle.Signers // of the site pack
	kept  record
	list  *bundle.DenyList // kept.List, read; nil: none
}

// record is the file.
type record struct {
	// Pack are the signers of the site pack that this began with: another
	// pack begins anew.
	Pack []string `json:"pack,omitempty"`
	// Signers are those of the newest config that was confirmed; none: the
	// pack's.
	Signers []string `json:"signers,omitempty"`
	Mark    uint64   `json:"mark"`           // the highest generation that was ever accepted
	Hash    string   `json:"hash,omitempty"` // of that one; empty: none was under this pack
	By      string   `json:"by,omitempty"`   // who signed it, as a line of Signers
	List    []byte   `json:"list,omitempty"` // the signed list in force
}

// Open reads what is kept in dir, a folder of the agent's that need not be
// there yet. first are the signers that the site pack names; none: nothing that
// is sent will be accepted. It writes nothing.
func Open(dir string, first []string) (*Trust, error) {
	t := &Trust{file: filepath.Join(dir, "trust.json")}
	var err error
	if t.first, err = bundle.ParseSigners(first); err != nil {
		return nil, fmt.Errorf("site pack: %w", err)
	}
	text, err := os.ReadFile(t.file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	if err := t.read(text); err != nil {
		return nil, refuse(fmt.Errorf("%s: %w: %w", t.file, ErrDamaged, err),
			"take the file away, and have central ops push anew: until then no old config is known as old, and nothing is shut out")
	}
	return t, nil
}

// Salvage is what Open cannot read, for the reason why: the mark and the list, as
// far as they can be read. It accepts and writes nothing.
func Salvage(dir string, why error) *Trust {
	t := &Trust{file: filepath.Join(dir, "trust.json"), damaged: why}
	if text, err := os.ReadFile(t.file); err == nil {
		_ = t.read(text) // why says what is wrong with it
	}
	return t
}

// read takes what the file says, as far as it is of the site pack that is here.
func (t *Trust) read(text []byte) error {
	if err := json.Unmarshal(text, &t.kept); err != nil {
		return err
	}
	if len(t.kept.List) > 0 {
		b, err := bundle.Parse(t.kept.List)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if t.list, err = bundle.ParseList("list", b.Text); err != nil {
			return err
		}
	}
	if _, err := bundle.ParseSigners(t.kept.Signers); err != nil {
		return err
	}
	t.begin()
	return nil
}

// Begin has the signers of another site pack be the first ones, as at the next
// Open. It writes nothing, and an error changes nothing.
func (t *Trust) Begin(first []string) error {
	if t.damaged != nil {
		return t.damaged
	}
	all, err := bundle.ParseSigners(first)
	if err != nil {
		return fmt.Errorf("site pack: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = all
	t.begin()
	return nil
}

// begin forgets what was signed under another pack. The mark stays, and with it
// every old config old; what was signed by those of before is nothing that was
// verified any more. The caller holds mu.
func (t *Trust) begin() {
	if lines := t.first.Lines(); len(lines) > 0 && !slices.Equal(lines, t.kept.Pack) {
		t.kept.Pack, t.kept.Signers, t.kept.Hash, t.kept.By = lines, nil, "", ""
	}
}

// write makes a change durable before it is believed. The caller holds mu.
func (t *Trust) write(next record) error {
	if t.damaged != nil {
		return t.damaged
	}
	if lines := t.first.Lines(); len(lines) > 0 {
		next.Pack = lines
	}
	text, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(t.file, append(text, '\n'), 0o640); err != nil {
		return fmt.Errorf("keep what this gateway believes: %w", err)
	}
	t.kept = next
	return nil
}

// Mark is the highest generation that was ever accepted; 0: none was.
func (t *Trust) Mark() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept.Mark
}

// Signers are those whose signature is accepted now.
func (t *Trust) Signers() bundle.Signers {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signers()
}

func (t *Trust) signers() bundle.Signers {
	if len(t.kept.Signers) == 0 {
		return t.first
	}
	all, _ := bundle.ParseSigners(t.kept.Signers) // read and Confirm have seen to it
	return all
}

// List is the list in force; nil: there is none.
func (t *Trust) List() *bundle.DenyList {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list
}

// Apply is the config with what the list in force shuts out taken away: what
// the tunnels are to be made of. A nil Trust takes nothing away.
func (t *Trust) Apply(c *config.Config) *config.Config {
	if t == nil {
		return c
	}
	return c.Without(t.List())
}
