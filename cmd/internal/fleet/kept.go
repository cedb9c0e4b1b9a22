package fleet

import (
	"time"
)

// Device is the network of the row of keys.csv that has a gateway's device key.
const Device = "-"

// Key is a row of keys.csv.
type Key struct {
	Gateway     string
	Network     string // or Device
	Public      string // WireGuard's, base64; the device's: PKIX, base64
	Fingerprint string
	FirstSeen   string // "2026-11-20"
}

// Generation is a row of generations.csv: what was pushed last.
type Generation struct {
	Gateway string
	Number  uint64
	Hash    string // SHA-256 of the pushed text, in hex
}

// KeyOf is a gateway's key in a network, or its device key.
func (f *Fleet) KeyOf(gateway, network string) (Key, bool) { panic("next landing") }

// SetKey records a key, in the place of the one before. Save writes it.
func (f *Fleet) SetKey(k Key) { panic("next landing") }

// GenerationOf is what was pushed to a gateway last.
func (f *Fleet) GenerationOf(gateway string) (Generation, bool) { panic("next landing") }

// SetGeneration records what is pushed. Save writes it.
func (f *Fleet) SetGeneration(g Generation) { panic("next landing") }

// Given are the addresses that this Load gave because addresses.csv has none
// yet, by gateway. Save writes them.
func (f *Fleet) Given() []string { panic("next landing") }

// Wanted are the networks for which a gateway has no key yet, by gateway.
func (f *Fleet) Wanted() map[string][]string { panic("next landing") }

// Save writes what changed of keys.csv, addresses.csv and generations.csv, each
// of them whole or not at all; rows and columns of others stay as they are.
func (f *Fleet) Save() error { panic("next landing") }

// today is how keys.csv writes a day.
func today(t time.Time) string { return t.UTC().Format(time.DateOnly) }
