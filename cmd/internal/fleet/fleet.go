// Package fleet is what operators write about their gateways, as files in a
// directory that lives in git, and what follows from it: one desired config for
// each gateway, hubs included. It reads every mistake at once, with file, line
// and cell. It opens no socket and signs nothing.
//
//	fleet.toml       what is the same for many sites
//	sites.csv        one row a site, as it comes out of a spreadsheet
//	attachments.csv  one row a site and network: which LAN into which network
//	keys.csv         public keys; addresses.csv, generations.csv: what was given
//
// The last three are written by commands and reviewed by people.
package fleet

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/tunnels"
)

// The files of a fleet.
const (
	tomlFile        = "fleet.toml"
	sitesFile       = "sites.csv"
	attachmentsFile = "attachments.csv"
	keysFile        = "keys.csv"
	addressesFile   = "addresses.csv"
	generationsFile = "generations.csv"
)

// Fleet is a fleet's files, validated.
type Fleet struct {
	Dir           string
	Rollout       Rollout
	Organisations map[string]string // name -> what people call it
	Networks      []Network         // in the order of fleet.toml
	Hubs          []Hub             // in the order of fleet.toml
	Sites         []Site            // in the order of sites.csv
	Checks        []Check

	Signers   []string       // lines as in ~/.ssh/id_ed25519.pub; a push needs two
	Collector []string       // URLs; empty: as the site packs say
	Trial     time.Duration  // 0: 90 s
	Manners   checks.Manners // [manners] and [[off]], for all gateways
	manners   string         // as a config has them
	Protected []netip.Prefix // what no network may cover, besides HSCN's

	notes    config.Problems
	digest   string
	sheets   map[string]*sheet
	was      map[string][sha256.Size]byte // the files of sheets, as they were read or written
	gateways []Gateway
	index
}

// Rollout is [rollout].
type Rollout struct {
	Rings  []string // without the hubs, which are always first
	Window string   // empty: always
	Pause  centre.Pause
}

// Network is [network.NAME].
type Network struct {
	Name         string
	Organisation string
	Overlay      netip.Prefix
	Hubs         []string // the first is preferred
	MTU          int      // 0: not said
	Probe        time.Duration
	MayCover     []string
	Allow        []tunnels.Allow

	table  config.Table
	allows []config.Table
}

// Hub is [hub.NAME]: a gateway that others call.
type Hub struct {
	Name      string
	Endpoints map[string][]string // network -> "host:port"
	LAN       map[string][]netip.Prefix
	Port      map[string]int // that it listens on

	table config.Table
}

// Site is a row of sites.csv, with its rows of attachments.csv.
type Site struct {
	ID, Name, Kind, ODS, Postcode, Circuit string

	CareLevel   int    // of the line's repair, 1 to 4; 0: not said
	Gateways    int    // 1 unless given
	Ring        string // its own; empty: by hash
	Open        string
	Window      string // its own; empty: the fleet's
	Attachments []Attachment

	line  int
	cells map[string]string // column, as normal writes it -> cell
}

// Attachment is a site's place in a network: the rows that name both.
type Attachment struct {
	Network string
	LANs    []LAN    // may be empty: a tunnel address and checks only
	Hubs    []string // its own, in order of preference; none: the network's

	line int // of the first row
}

// LAN is what a site brings to a network.
type LAN struct {
	Prefix   netip.Prefix
	As       netip.Prefix // not valid: known by Prefix
	MayCover []string

	line int
}

// Known is the prefix that the network knows the LAN by.
func (l LAN) Known() netip.Prefix {
	if l.As.IsValid() {
		return l.As
	}
	return l.Prefix
}

// Check is [[check]], for the gateways that it chooses.
type Check struct {
	config.Check
	Where map[string][]string // column of sites.csv -> one of these
	OnHub bool                // at the hubs of its network instead of the sites

	text  string // as it is written in a config
	table config.Table
}

// Gateway is one gateway of the fleet.
type Gateway struct {
	Name          string
	Site          string // a hub: its own name
	Hub           bool
	Networks      []string
	Organisations []string // of its networks, each once
	Ring          int      // index into Fleet.Rings
	Acute         bool
	Window        string // its own; empty: the fleet's

	place, nth int // index into Sites or Hubs; which of its site, from 0
}

// Load reads and validates the fleet in a directory. Its error is
// config.Problems, every mistake of all files, unless a file could not be read.
func Load(dir string) (*Fleet, error) {
	r := &reading{Fleet: &Fleet{Dir: dir, Organisations: map[string]string{}, sheets: map[string]*sheet{}, was: map[string][sha256.Size]byte{}}}
	if err := r.read(); err != nil {
		return nil, err
	}
	r.all()
	if err := r.problems(); err != nil {
		return nil, err
	}
	return r.Fleet, nil
}

// Notes are what is worth a look but refuses nothing: a column that nobody
// knows, a check that chooses no site.
func (f *Fleet) Notes() config.Problems { return f.notes }

// Digest is the SHA-256 of all the files, in hex: its first seven digits name
// the fleet as it is now.
func (f *Fleet) Digest() string { return f.digest }

// Gateways are all of them: the hubs, then the sites in the order of sites.csv.
func (f *Fleet) Gateways() []Gateway { return f.gateways }

// Gateway is one of them.
func (f *Fleet) Gateway(name string) (Gateway, bool) {
	i, ok := f.gatewayAt[name]
	if !ok {
		return Gateway{}, false
	}
	return f.gateways[i], true
}

// Rings are the rings of a rollout in order; the first is the hubs'.
func (f *Fleet) Rings() []string { return append([]string{"hubs"}, f.Rollout.Rings...) }

// Summary counts what the fleet has: "390 sites, 396 gateways, 2 hubs, …".
func (f *Fleet) Summary() string {
	count := func(n int, one string) string {
		if n != 1 {
			one += "s"
		}
		return fmt.Sprintf("%d %s", n, one)
	}
	return strings.Join([]string{count(len(f.Sites), "site"), count(len(f.gateways)-len(f.Hubs), "gateway"), count(len(f.Hubs), "hub"),
		count(len(f.Networks), "network"), count(len(f.Checks), "check")}, ", ")
}

// CanPush says what keeps this fleet from being pushed; nil: nothing.
func (f *Fleet) CanPush() error {
	if len(f.Signers) >= 2 {
		return nil
	}
	return config.Problems{{File: tomlFile, Path: "signers",
		Message: "a push needs the public keys of two operators at least",
		Hint:    "one may be lost; each is a line as in ~/.ssh/id_ed25519.pub"}}
}
