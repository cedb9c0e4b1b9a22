// Package impair is a far side that misbehaves on purpose, for tests of checks:
// behind a TUN link of the caller's network namespace each address answers ICMP
// echo, UDP and TCP SYN by rules of its own, which delay, lose, reorder, double or
// change answers, drop what is too long, or deny. The same seed and the same
// questions give the same answers.
package impair

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Rules say what one address does. The zero value answers all at once. A count
// of n means the n-th question of each n; 0: none. Rules apply in the order of
// their fields.
type Rules struct {
	NoICMP bool       // echo requests vanish, and so do all ICMP errors
	Hops   int        // routers before the address: a packet of a smaller or equal TTL ends there
	MTU    int        // what is longer vanishes, bytes with the IP header; 0: nothing is
	Tell   bool       // what is longer is denied, with the MTU, where DF or IPv6 lets nobody fragment
	Deny   Denial     // what a router says instead of passing it
	By     netip.Addr // the router that speaks; not valid: the address itself

	Loss        float64 // of questions, at random, 0 to 1
	BurstEvery  int     // so many questions from the begin of a loss burst to the next
	BurstLength int     // questions lost in each
	LoseAnswer  int     // of each n answers the n-th is lost

	Corrupt   int // an answer's last byte is changed, its checksum is right
	Damage    int // an answer's last byte is changed, its checksum is not
	Duplicate int // an answer comes twice
	HoldBack  int // an answer comes after the next one

	Delay  time.Duration // of each answer
	Jitter time.Duration // and up to so much more, at random
	Late   int           // an answer comes LateBy later
	LateBy time.Duration

	Ports []uint16 // of UDP and TCP that answer; nil: all. The others refuse
}

// Denial is an ICMP error, by its IPv4 numbers; IPv6 has others for the same.
type Denial int

const (
	NoDenial Denial = iota
	NetUnreachable
	HostUnreachable
	Prohibited
)

// Options are of a Responder.
type Options struct {
	Seed  uint64
	Link  string                       // its name; empty: "impair0"
	MTU   int                          // of the link; 0: 1500
	Local []netip.Prefix               // ours; each makes the link the way to its whole prefix
	UDP   func(question []byte) []byte // what UDP answers; nil: the question
}

// Responder is the far side.
type Responder struct {
	options Options
	tun     *os.File
	wg      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	places map[netip.Addr]*place
}

// place is one address.
type place struct {
	rules    Rules
	random   *rand.Rand
	asked    int      // questions that came this far
	answered int      // answers made
	held     [][]byte // packets that wait for the next
}

// Open makes the link in the caller's network namespace, which ends with Close.
func Open(o Options) (*Responder, error) {
	o.Link, o.MTU = cmp.Or(o.Link, "impair0"), cmp.Or(o.MTU, 1500)
	tun, err := openTUN(o.Link, o.MTU, o.Local)
	if err != nil {
		return nil, fmt.Errorf("link %s: %w", o.Link, err)
	}
	r := &Responder{options: o, tun: tun, places: map[netip.Addr]*place{}}
	r.wg.Go(r.serve)
	return r, nil
}

// Close takes the link away and returns when nothing more is sent.
func (r *Responder) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	err := r.tun.Close()
	r.wg.Wait()
	return err
}

// Set gives an address its rules, which count from the beginning.
func (r *Responder) Set(a netip.Addr, rules Rules) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places[a] = r.newPlace(a, rules)
}

func (r *Responder) newPlace(a netip.Addr, rules Rules) *place {
	b := a.As16()
	return &place{rules: rules, random: rand.New(rand.NewPCG(r.options.Seed, uint64(b[14])<<8|uint64(b[15])))}
}

// at returns the place of an address. The caller holds r.mu.
func (r *Responder) at(a netip.Addr) *place {
	p := r.places[a]
	if p == nil {
		p = r.newPlace(a, Rules{})
		r.places[a] = p
	}
	return p
}

// serve reads questions until the link is gone.
func (r *Responder) serve() {
	buf := make([]byte, 1<<16)
	for {
		n, err := r.tun.Read(buf)
		if err != nil {
			return
		}
		if q, ok := parse(buf[:n]); ok {
			r.mu.Lock()
			r.take(q)
			r.mu.Unlock()
		}
	}
}

// take deals with one question.
func (r *Responder) take(q packet) {
	p := r.at(q.to)
	if d, ok := p.deny(q); ok {
		if !p.rules.NoICMP && d != nil {
			r.deliver(0, d)
		}
		return
	}
	if q.tcp() && !q.syn() {
		return // of a connection that is over for us
	}
	p.asked++
	if p.rules.NoICMP && q.icmp() || p.loses() {
		return
	}
	answer := p.answer(q, r.options.UDP)
	if answer == nil {
		return
	}
	p.answered++
	if nth(p.answered, p.rules.LoseAnswer) {
		return
	}
	r.send(p, answer)
}

// loses says whether the question vanishes.
func (p *place) loses() bool {
	lost := p.random.Float64() < p.rules.Loss
	if every := p.rules.BurstEvery; every > 0 && (p.asked-1)%every < p.rules.BurstLength {
		lost = true
	}
	return lost
}

// send lets an answer go by the rules.
func (r *Responder) send(p *place, answer []byte) {
	n, rules := p.answered, p.rules
	delay := rules.Delay
	if rules.Jitter > 0 {
		delay += time.Duration(p.random.Int64N(int64(rules.Jitter)))
	}
	if nth(n, rules.Late) {
		delay += rules.LateBy
	}
	if nth(n, rules.HoldBack) {
		p.held = append(p.held, answer)
		return
	}
	packets := [][]byte{answer}
	if nth(n, rules.Duplicate) {
		packets = append(packets, answer)
	}
	packets = append(packets, p.held...)
	p.held = nil
	r.deliver(delay, packets...)
}

// deliver writes packets in order, after a delay. The caller holds r.mu.
func (r *Responder) deliver(delay time.Duration, packets ...[]byte) {
	if r.closed {
		return
	}
	write := func() {
		for _, b := range packets {
			_, _ = r.tun.Write(b) // the link may be gone
		}
	}
	if delay == 0 {
		write()
		return
	}
	r.wg.Add(1)
	time.AfterFunc(delay, func() {
		defer r.wg.Done()
		write()
	})
}

// nth says whether it is the turn of one in each of them; 0: never.
func nth(n, each int) bool { return each > 0 && n%each == 0 }
