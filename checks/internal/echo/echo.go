// Package echo sends trains of questions whose answer is an echo, and says what
// became of each: ICMP echo requests, or UDP datagrams to a responder. Trains of
// one family and source share a socket and all share a goroutine: what is due
// together is sent by one call, and what has come is read together a little
// later. That costs no accuracy, for the kernel takes the times. What an outcome
// means for a target is said by Outcome.Result; asking once, and of whom, is for
// the kinds of checks.
package echo

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"github.com/ginnel/ginnel/checks/stamp"
)

// HeadSize is the least payload, bytes: a random number of the socket, and a
// number that no other question over it has.
const HeadSize = 16

// MaxCount is the most questions of a train.
const MaxCount = 1 << 16

// Train is some questions to one address.
type Train struct {
	To     netip.AddrPort // port 0: ICMP, else UDP
	From   netip.Addr     // the address to bind; not valid: the host's choice
	Device string         // the link to bind; empty: none

	Count    int           // questions, 1 to MaxCount
	Gap      time.Duration // from one question to the next
	Wait     time.Duration // an answer that takes longer is late; 0: until Deadline
	Deadline time.Time     // the train ends then, whatever is missing

	Size   int    // of a payload, bytes; at least HeadSize and what follows
	Ask    []byte // what follows the head in a question; nil: filling
	Answer []byte // the same in its answer, as long as Ask; nil: Ask
	TTL    int    // 1 to 255; 0: the host's
	// Session makes the questions test packets of STAMP, of this session and of at
	// least stamp.Size, instead of what Ask and Answer say; UDP only. 0: they are not.
	Session uint16
	DF      bool // let nobody fragment

	// After keeps what comes when a train of the same check has ended, to be
	// counted in the next one; nil: nobody counts that.
	After *After
}

// After is what came for a train that had ended. It belongs to an Engine. Its
// zero value has nothing.
type After struct{ late, duplicate int }

// Outcome is what became of a train.
type Outcome struct {
	Start    time.Time       // when the first question left
	Sent     int             // questions that left
	Received int             // answers in time
	RTT      []time.Duration // one for each answer in time, in the order of the questions
	Stamps   checks.Stamps   // where all of RTT comes from; empty without RTT
	Odd      checks.Odd
	Packets  []Packet // each question that was due, in order

	Denial  *Denial      // the last of what said no; nil: nothing did
	Dropped int          // answers for which our socket had no room while it ran; they may have been another's
	Broken  bool         // the context ended before the train
	Err     *reach.Fault // why nothing could be asked; nil: it could
}

// Packet is one question. A denied one has the time of the denial.
type Packet struct {
	checks.Packet
	Denial *Denial       // nil: none
	Answer *stamp.Answer // of a test packet that was answered in time; nil: none
}

// Denial is what a router, the target or this host said instead of an answer.
type Denial struct {
	By         netip.Addr // not valid: this host
	Errno      error      // a syscall.Errno, as ECONNREFUSED
	Type, Code uint8      // of the ICMP message; 0, 0: there was none
	MTU        int        // with EMSGSIZE, what would have passed; 0: not said
}
