package fleet

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Device is the network of the row of keys.csv that has a gateway's device key.
const Device = "-"

// List stands for a gateway in the row of generations.csv that has the last list
// of what is shut out.
const List = "-"

// The columns of the files that commands write.
var (
	keyColumns        = []string{"gateway", "network", "public_key", "fingerprint", "first_seen"}
	addressColumns    = []string{"gateway", "network", "address"}
	generationColumns = []string{"gateway", "generation", "hash"}
)

// Key is a row of keys.csv.
type Key struct {
	Gateway     string
	Network     string // or Device
	Public      string // WireGuard's, base64; the device's: PKIX, base64
	Fingerprint string // for people
	FirstSeen   string // "2026-11-20"
}

// Generation is a row of generations.csv: what was pushed last.
type Generation struct {
	Gateway string // or List
	Number  uint64
	Hash    string // SHA-256 of the pushed text, in hex
}

// readKeys reads keys.csv. Rows of gateways that are gone are kept and say
// nothing.
func (r *reading) readKeys() {
	owner := map[string]*row{}
	for _, c := range r.rowsOf(keysFile, keyColumns[:3], keyColumns[3:]...) {
		e := end{c.s.get(c.row, "gateway"), c.s.get(c.row, "network")}
		text := c.s.get(c.row, "public_key")
		if first, twice := r.keys[e]; twice {
			c.problem("network", "one row a gateway and network", "%s has a key in %s in row %d as well", e.gateway, e.network, first.line)
			continue
		}
		if hint, wrong := wrongKey(e.network, text); wrong != "" {
			c.problem("public_key", hint, "%s", wrong)
			continue
		}
		if first, taken := owner[text]; taken {
			c.problem("public_key", "every gateway has a key of its own in each network", "is the key of row %d as well", first.line)
			continue
		}
		if print := fingerprintOf(text); c.s.get(c.row, "fingerprint") != print && c.s.get(c.row, "fingerprint") != "" {
			c.problem("fingerprint", "of this key it is "+print+"; whoever changed the one meant to change the other", "%s is not that of the key", config.Show(c.s.get(c.row, "fingerprint")))
		}
		owner[text], r.keys[e] = c.row, c.row
	}
}

// wrongKey says what is wrong with a public key; empty: nothing.
func wrongKey(network, text string) (hint, wrong string) {
	if text == "" {
		return "take the row out, and the gateway's proof brings it back", "is missing"
	}
	if network != Device {
		if _, err := key.ParsePublic(text); err != nil {
			return "", err.Error()
		}
		return "", ""
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		_, err = x509.ParsePKIXPublicKey(raw)
	}
	if err != nil {
		return "", "is not a device key: PKIX, in base64"
	}
	return "", ""
}

// KeyOf is a gateway's key in a network, or its device key.
func (f *Fleet) KeyOf(gateway, network string) (Key, bool) {
	r, ok := f.keys[end{gateway, network}]
	if !ok {
		return Key{}, false
	}
	s := f.sheets[keysFile]
	return Key{Gateway: gateway, Network: network, Public: s.get(r, "public_key"),
		Fingerprint: s.get(r, "fingerprint"), FirstSeen: s.get(r, "first_seen")}, true
}

// KeysOf are a gateway's rows of keys.csv: its device's, then in the order of
// networks.
func (f *Fleet) KeysOf(gateway string) []Key {
	var all []Key
	for _, network := range append([]string{Device}, f.networkNames()...) {
		if k, ok := f.KeyOf(gateway, network); ok {
			all = append(all, k)
		}
	}
	return all
}

// fingerprintOf is what people compare of a key in base64.
func fingerprintOf(public string) string {
	raw, _ := base64.StdEncoding.DecodeString(public) // was looked at before
	return identity.Fingerprint(raw)
}

// SetKey records a key, in the place of the one before. Save writes it.
func (f *Fleet) SetKey(k Key) {
	s := f.written(keysFile, keyColumns)
	r, ok := f.keys[end{k.Gateway, k.Network}]
	if !ok {
		r = s.add("gateway", k.Gateway, "network", k.Network)
		f.keys[end{k.Gateway, k.Network}] = r
	}
	s.set(r, "public_key", k.Public)
	s.set(r, "fingerprint", k.Fingerprint)
	s.set(r, "first_seen", k.FirstSeen)
}

// DropKey takes a row out of keys.csv. Save writes it.
func (f *Fleet) DropKey(gateway, network string) {
	r, ok := f.keys[end{gateway, network}]
	if !ok {
		return
	}
	s := f.sheets[keysFile]
	s.rows = slices.DeleteFunc(s.rows, func(o *row) bool { return o == r })
	s.changed = true
	delete(f.keys, end{gateway, network})
}

// written is the sheet of a file that we write, with all its columns.
func (f *Fleet) written(name string, columns []string) *sheet {
	s := f.sheets[name]
	if s == nil || len(s.column) == 0 {
		s = newSheet(name, columns...)
		f.sheets[name] = s
	}
	s.columns(columns...)
	return s
}

// readGenerations reads generations.csv.
func (r *reading) readGenerations() {
	for _, c := range r.rowsOf(generationsFile, generationColumns) {
		gateway := c.s.get(c.row, "gateway")
		if first, twice := r.numbers[gateway]; twice {
			c.problem("gateway", "keep the one with the higher generation", "%s is in row %d as well", config.Show(gateway), first.line)
			continue
		}
		if n, err := strconv.ParseInt(c.s.get(c.row, "generation"), 10, 64); err != nil || n < 1 {
			c.problem("generation", "", "%s is not a number above 0", config.Show(c.s.get(c.row, "generation")))
		}
		if raw, err := hex.DecodeString(c.s.get(c.row, "hash")); err != nil || len(raw) != 32 {
			c.problem("hash", "", "%s is not a SHA-256 in hex", config.Show(c.s.get(c.row, "hash")))
		}
		r.numbers[gateway] = c.row
	}
}

// GenerationOf is what was pushed to a gateway last.
func (f *Fleet) GenerationOf(gateway string) (Generation, bool) {
	r, ok := f.numbers[gateway]
	if !ok {
		return Generation{}, false
	}
	s := f.sheets[generationsFile]
	n, _ := strconv.ParseUint(s.get(r, "generation"), 10, 64) // was read before
	return Generation{Gateway: gateway, Number: n, Hash: s.get(r, "hash")}, true
}

// SetGeneration records what is pushed. Save writes it.
func (f *Fleet) SetGeneration(g Generation) {
	s := f.written(generationsFile, generationColumns)
	r, ok := f.numbers[g.Gateway]
	if !ok {
		r = s.add("gateway", g.Gateway)
		f.numbers[g.Gateway] = r
	}
	s.set(r, "generation", strconv.FormatUint(g.Number, 10))
	s.set(r, "hash", g.Hash)
}

// Wanted are the networks for which a gateway has no key yet, by gateway.
func (f *Fleet) Wanted() map[string][]string {
	wanted := map[string][]string{}
	for _, g := range f.gateways {
		for _, n := range g.Networks {
			if _, ok := f.keys[end{g.Name, n}]; !ok {
				wanted[g.Name] = append(wanted[g.Name], n)
			}
		}
	}
	return wanted
}

// Save writes what changed of keys.csv, addresses.csv and generations.csv, each
// of them whole or not at all; rows and columns of others stay as they are. It
// writes nothing where somebody else has changed one since it was read.
func (f *Fleet) Save() error {
	var changed []*sheet
	for _, name := range []string{keysFile, addressesFile, generationsFile} {
		s := f.sheets[name]
		if s == nil || !s.changed {
			continue
		}
		now, err := os.ReadFile(filepath.Join(f.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if sha256.Sum256(now) != f.was[name] {
			return config.Problems{{File: name, Message: "was changed since it was read, by another command or by git", Hint: "nothing was written; run this again"}}
		}
		changed = append(changed, s)
	}
	for _, s := range changed {
		text := s.bytes()
		if err := writeFile(filepath.Join(f.Dir, s.name), text); err != nil {
			return fmt.Errorf("write %s: %w", s.name, err)
		}
		s.changed, f.was[s.name] = false, sha256.Sum256(text)
	}
	return nil
}
