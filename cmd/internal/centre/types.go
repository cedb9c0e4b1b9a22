// Package centre is the collector's API: what it answers, and a client.
//
// Names and units are those of `ginnel status --json`: times are RFC 3339,
// durations are seconds as numbers and say so in their names.
package centre

import (
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
)

// Site is one site in the list of all.
type Site struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Postcode string       `json:"postcode,omitempty"`
	Networks []string     `json:"networks"`
	State    checks.State `json:"state"`          // the worst of its gateways
	Since    time.Time    `json:"since,omitzero"` // of that state; absent: never heard of
	Code     string       `json:"code,omitempty"`
	Headline string       `json:"headline,omitempty"` // the one cause, in words; empty when up
	LastSeen time.Time    `json:"last_seen,omitzero"` // absent: never
	Gateways []Gateway    `json:"gateways"`
}

// Gateway is one gateway of a Site.
type Gateway struct {
	Name     string       `json:"name"`
	Role     string       `json:"role"` // "site", or "hub" where one of its networks says so
	Enrolled time.Time    `json:"enrolled,omitzero"`
	LastSeen time.Time    `json:"last_seen,omitzero"`
	State    checks.State `json:"state"` // unknown when it is not heard of, whatever it said last
	Since    time.Time    `json:"since,omitzero"`
	Code     string       `json:"code,omitempty"`
	Headline string       `json:"headline,omitempty"`
	Version  string       `json:"version,omitempty"`
	Tunnels  Count        `json:"tunnels"`
	Checks   Count        `json:"checks"`
	// Current is false when the counts, and the snapshot of SiteDetail, are
	// of LastSeen and not of now.
	Current bool `json:"current"`
}

// Count is how many of a sort there are, and how many of them are up; those
// in maintenance count as up.
type Count struct {
	Up  int `json:"up"`
	All int `json:"all"`
}

// SiteDetail is one site with all that its gateways said last.
type SiteDetail struct {
	Site
	Snapshots []Snapshot `json:"snapshots"` // of those gateways that sent one
}

// Snapshot is what a gateway said of itself, and when that arrived.
type Snapshot struct {
	block.Snapshot
	Arrived time.Time `json:"arrived"`
}

// Evidence is what a gateway saw when something broke, in a list.
type Evidence struct {
	Gateway string `json:"gateway"`
	evidence.Entry
}

// NewSite is what is asked of POST /api/v1/sites. The token itself never comes
// here: the collector holds its hash only.
type NewSite struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Postcode    string    `json:"postcode,omitempty"`
	Gateway     string    `json:"gateway"` // empty: the id with "-1"
	Networks    []string  `json:"networks"`
	TokenSHA256 string    `json:"token_sha256"` // 64 hex digits
	Expires     time.Time `json:"expires"`
}

// CA is how gateways reach this collector and know it: both go into site packs.
type CA struct {
	URL string `json:"url"`    // of the gateways' listener
	PEM string `json:"ca_pem"` // the collector's own authority
}

// Health is the collector's own.
type Health struct {
	Status  string `json:"status"` // "ok"
	Version string `json:"version"`
	Sites   int    `json:"sites"`
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}
