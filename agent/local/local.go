// Package local is how commands ask the running agent: HTTP over a Unix socket
// that root and the group ginnel-admin may open. It carries what `ginnel
// status` shows and the few acts of a technician; it listens on no network.
package local

import (
	"context"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/why"
)

// Socket is where the agent listens.
const Socket = "/run/ginnel/agent.sock"

// Group may open the socket, besides root.
const Group = "ginnel-admin"

// Agent is what the server needs of the daemon.
type Agent interface {
	// Snapshot tells how the gateway is now.
	Snapshot() block.Snapshot
	// Why finds the first broken step of a network, or with an empty name of
	// the whole site.
	Why(ctx context.Context, network string) (*why.Report, error)
	// Reload reads the config again, and what programs of checks are offered. A
	// *LeftOut tells of the latter; another error means that the old config stays.
	Reload(ctx context.Context) error
	// Report is this gateway's own report of a month.
	Report(ctx context.Context, p report.Period) (*report.Report, error)
	// RunCheck runs a check of the config, or a tunnel's probe, once, now.
	RunCheck(ctx context.Context, name string) (CheckRun, error)
	// WatchCheck tells of each run of one as it ends, until ctx does, or until
	// the config has no such check. begun is called once the name is known.
	WatchCheck(ctx context.Context, name string, begun func(), tell func(CheckRun)) error
	// History is what was measured of a check or tunnel since a time.
	History(ctx context.Context, name string, since time.Time) (History, error)
	// Evidence lists what was kept of changes for the worse, the newest first;
	// EvidenceOf gives one back.
	Evidence(ctx context.Context) ([]evidence.Entry, error)
	EvidenceOf(ctx context.Context, id string) (*evidence.Bundle, error)
	// Down takes the tunnels down and leaves the refusals up.
	Down(ctx context.Context) error
	// Enrol enrols with a site pack, telling each step as it is done.
	Enrol(ctx context.Context, pack []byte, progress func(Progress)) error
	// Apply tries a signed config, telling where the trial is, until it is
	// decided or held. An error says that it does not stay, or not for sure.
	Apply(ctx context.Context, bundle []byte, progress func(Progress)) error
	// Rollback goes back to the config before, until there is a newer one.
	Rollback(ctx context.Context) error
	// Renew replaces the data planes of a network, or of all where it is
	// empty, telling each as it is done.
	Renew(ctx context.Context, network string, progress func(Progress)) error
}

// Progress is one step of an act that takes a while.
type Progress struct {
	Step  string `json:"step"`
	OK    bool   `json:"ok"`
	Text  string `json:"text,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Final bool   `json:"final,omitempty"` // the last one; OK is the outcome
}
