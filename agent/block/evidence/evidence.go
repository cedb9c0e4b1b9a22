// Package evidence is what a gateway writes down when a check or tunnel goes
// down or gets worse: its last packets from before and after, and what was seen
// of the way to it in the seconds that followed. One Bundle is one JSON document,
// the same on the gateway's disk, on the wire and at the centre.
//
// It holds no secrets: no keys, no answers of services, no names of people.
package evidence

import (
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Version is that of the document. A reader takes its own and refuses others; a
// field more does not change it.
const Version = 1

// MaxSize is the most that a document has, in bytes.
const MaxSize = 64 << 10

// Bundle is the evidence of one change of state. Times are RFC 3339, durations
// seconds.
type Bundle struct {
	Version int       `json:"version"`
	ID      string    `json:"id"` // "20261123T141502-9f3a01c7": when in UTC, and a hash; see NewID
	Gateway string    `json:"gateway"`
	Agent   string    `json:"agent,omitempty"` // its version
	Made    time.Time `json:"made"`            // when the last of it was looked at

	Subject Subject `json:"subject"`
	Change  Change  `json:"change"`
	Finding Finding `json:"finding,omitzero"` // zero: no cause is known

	Packets []Packet `json:"packets"`           // in the order in which they left
	Dropped int      `json:"dropped,omitempty"` // older ones that had no room

	LastGood *Look `json:"last_good,omitempty"` // the last run that was well, and the last of all
	Last     *Look `json:"last,omitempty"`

	Path    *Look    `json:"path,omitempty"` // looks from after the change
	MTU     *Look    `json:"mtu,omitempty"`
	DNS     *DNS     `json:"dns,omitempty"`
	Tunnels []Tunnel `json:"tunnels,omitempty"` // of the subject's network, at the change
	Links   []Link   `json:"links,omitempty"`

	NotLooked []string `json:"not_looked,omitempty"` // what was left out, and why
}

// Subject is the check or tunnel.
type Subject struct {
	Class     string `json:"class"` // "check" or "tunnel"
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Network   string `json:"network,omitempty"` // empty: beside the tunnels
	Target    string `json:"target"`
	StandsFor string `json:"stands_for,omitempty"`
}

// Change is the change of state.
type Change struct {
	At      time.Time     `json:"at"`      // of the first result that led to it
	Noticed time.Time     `json:"noticed"` // of the last
	From    checks.State  `json:"from"`
	To      checks.State  `json:"to"`
	Reason  checks.Reason `json:"reason,omitempty"`
	Phase   checks.Phase  `json:"phase,omitempty"`
	Detail  string        `json:"detail,omitempty"`
}

// Finding is the first broken step, as `ginnel why` finds it.
type Finding struct {
	Code   string `json:"code,omitempty"` // "GN-SVC-02"
	Object string `json:"object,omitempty"`
	Text   string `json:"text,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Means  string `json:"what_it_means,omitempty"`
	Owner  string `json:"owner,omitempty"`
	Who    string `json:"who,omitempty"`
}

// Packet is one question and what became of it; of a kind that keeps no packets,
// one run.
type Packet struct {
	At   float64 `json:"at_seconds"`            // since Change.At; before it: below 0
	RTT  float64 `json:"rtt_seconds,omitempty"` // 0: no answer, or it was not timed
	Fate string  `json:"fate"`
}

// Fates beyond those of checks.Fate.
const (
	Wrong = "wrong" // an answer, and not the wanted one
)

// Answered says whether there was a good answer in time.
func (p Packet) Answered() bool { return p.Fate == string(checks.Answered) }

// Ours says whether it says nothing of the target.
func (p Packet) Ours() bool { return p.Fate == string(checks.Unsent) }

// Look is a run of a check, of the subject's own or of another made for this.
type Look struct {
	At       time.Time      `json:"at"`
	Kind     string         `json:"kind"`
	Target   string         `json:"target"`
	Verdict  checks.Verdict `json:"verdict"`
	Reason   checks.Reason  `json:"reason,omitempty"`
	Phase    checks.Phase   `json:"phase,omitempty"`
	Detail   string         `json:"detail,omitempty"`
	Link     string         `json:"link,omitempty"` // that it left by
	Sent     int            `json:"sent"`
	Received int            `json:"received"`
	RTT      float64        `json:"rtt_seconds,omitempty"` // the median
	Steps    []Step         `json:"steps,omitempty"`
	Values   []Value        `json:"values,omitempty"`
}

// Step is a checks.Step.
type Step struct {
	Name   string  `json:"name"`
	Took   float64 `json:"seconds,omitempty"` // 0: not timed
	Detail string  `json:"detail,omitempty"`
}

// Value is a checks.Value.
type Value struct {
	Name   string  `json:"name"`
	Number float64 `json:"value"`
	Unit   string  `json:"unit"`
}

// DNS is what each resolver of the gateway says of the target's name.
type DNS struct {
	Name    string   `json:"name"` // empty: the target is an address, and none was asked
	Answers []Answer `json:"answers"`
}

// Answer is one resolver's.
type Answer struct {
	Resolver  string   `json:"resolver"`
	Addresses []string `json:"addresses,omitempty"`
	Took      float64  `json:"seconds,omitempty"`
	Error     string   `json:"error,omitempty"`
}

// Tunnel is how a tunnel stood at the change.
type Tunnel struct {
	Network      string       `json:"network"`
	Hub          string       `json:"hub,omitempty"`
	Device       string       `json:"device"`
	State        checks.State `json:"state"`
	Endpoint     string       `json:"endpoint,omitempty"`
	HandshakeAge *float64     `json:"handshake_age_seconds"` // null: none yet
	Sent         int64        `json:"sent_bytes"`
	Received     int64        `json:"received_bytes"`
}

// Link is a network interface at the change, and some seconds later.
type Link struct {
	Name  string   `json:"name"`
	Then  Counters `json:"at_change"`
	Later Counters `json:"later"`
}

// Counters are those of a link since it was made.
type Counters struct {
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxErrors  uint64 `json:"rx_errors"`
	RxDropped uint64 `json:"rx_dropped"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxErrors  uint64 `json:"tx_errors"`
	TxDropped uint64 `json:"tx_dropped"`
}

// Entry is a Bundle in a list.
type Entry struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"` // of the check or tunnel
	Network string       `json:"network,omitempty"`
	At      time.Time    `json:"at"`
	From    checks.State `json:"from"`
	To      checks.State `json:"to"`
	Code    string       `json:"code,omitempty"`
	Object  string       `json:"object,omitempty"`
	Text    string       `json:"text"`
	Sent    bool         `json:"sent,omitempty"` // the collector has it
}

// Entry is b in a list.
func (b *Bundle) Entry() Entry {
	return Entry{ID: b.ID, Name: b.Subject.Name, Network: b.Subject.Network, At: b.Change.At, From: b.Change.From, To: b.Change.To,
		Code: b.Finding.Code, Object: b.Finding.Object, Text: b.Headline()}
}
