// Package why finds the first thing that is broken between a site's LAN and
// the services of its networks, and says in words what it means and whose it is.
//
// It is pure: Facts go in, a Report comes out. Each layer is looked at only
// when the one below it is well, so one broken cable is one alarm and not one
// for each tunnel. Gathering the facts is the agent's business.
package why

import (
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Report is the answer to "why": the steps in order, and what follows from the
// first that is broken.
type Report struct {
	Gateway string    `json:"gateway"`
	Site    string    `json:"site,omitempty"`
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	Network string    `json:"network,omitempty"` // empty: the whole site

	State    checks.State `json:"state"`
	Since    time.Time    `json:"since,omitzero"`
	Code     Code         `json:"code,omitempty"`
	Owner    Owner        `json:"owner,omitempty"`
	Headline string       `json:"headline"`
	WaitsFor string       `json:"waits_for,omitempty"`

	Steps []Step `json:"steps"`

	NotTheLine string   `json:"not_the_line,omitempty"` // what shows that the line is well
	CannotTell string   `json:"cannot_tell,omitempty"`
	Means      string   `json:"what_it_means,omitempty"`
	Who        string   `json:"who,omitempty"`
	Say        string   `json:"say,omitempty"` // read it out on the phone
	Hints      []string `json:"hints,omitempty"`

	Evidence *Evidence `json:"evidence,omitempty"` // of what is broken, or else of the last change to something worse; nil: none is kept

	Request *Request `json:"request,omitempty"` // what has to be let through on the way
}

// Step is one thing that was looked at.
type Step struct {
	Name   string  `json:"step"`
	Result Outcome `json:"result"`
	Text   string  `json:"text"`
	Code   Code    `json:"code,omitempty"`
}

// Outcome is what came of a step.
type Outcome string

const (
	Good     Outcome = "ok"
	Failed   Outcome = "fail"
	NotTried Outcome = "not_tried"
)

// Finding is the first broken step of something. The zero Finding: none is.
type Finding struct {
	Code   Code
	Step   string // "handshake"
	Object string // what is broken, "hub-south"; with Code it names one cause
	Text   string // in words: "hub-south does not answer"
	Hint   string // what to do about it; may be empty

	// WaitsFor names the cause that this is only an effect of: "line",
	// "clock", a network. Code is empty then.
	WaitsFor string
}

// Broken says whether there is anything to tell.
func (f Finding) Broken() bool { return f.Code != "" || f.WaitsFor != "" }

// Owner says whose it is; empty: an effect, or nothing.
func (f Finding) Owner() Owner { return Meaning(f.Code).Owner }

// Findings are what is broken at a gateway.
type Findings struct {
	Site    Finding
	Beyond  string             // what answers over the line now, in words; empty: nothing is known to
	Tunnels map[string]Finding // by TunnelName
	Checks  map[string]Finding // by name
}

// TunnelName names the tunnel of a network to a hub, or of a hub to its sites.
func TunnelName(network, hub string) string {
	if hub == "" {
		return network
	}
	return network + "/" + hub
}
