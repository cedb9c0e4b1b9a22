package stamp

import (
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Bounds of a Reflector. Rates are well above what checks ask at most.
const (
	peerRate  = checks.EchoRate  // answers a second to one address, in the long run
	peerBurst = 400              // and at once
	mostPeers = 4096             // addresses that are remembered
	mostOf    = 64               // sessions of an address
	forget    = 15 * time.Minute // after so long in silence a session begins anew (REFWAIT of RFC 5357 4.2)
)

// Reflector answers test packets. An answer is as long as its question, never
// longer, and goes to nobody but who asked. Its zero value is ready for use.
type Reflector struct {
	mu    sync.Mutex
	peers map[netip.Addr]*peer
	swept time.Time
}

// peer is an address that asks.
type peer struct {
	tokens   float64 // answers that it may have at once
	last     time.Time
	sessions map[sessionKey]*session
}

type sessionKey struct{ port, id uint16 }

type session struct {
	seq  uint32 // of the next answer
	last time.Time
}

// Answer turns the question in b, which came from an address at a time, into its
// answer; false: it gets none.
func (r *Reflector) Answer(b []byte, from netip.AddrPort, ttl uint8, received, now time.Time) bool {
	q, ok := ParseQuestion(b)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peer(from.Addr(), now)
	if p == nil || p.tokens < 1 {
		return false
	}
	p.tokens--
	s := p.session(sessionKey{from.Port(), q.Session}, now)
	a := Answer{Seq: s.seq, Time: TimeOf(now), Error: Unsynchronised, Session: q.Session, Received: TimeOf(received), Question: q, TTL: ttl}
	s.seq++
	a.Put(b)
	return true
}

// peer finds an address, and gives it what it may ask meanwhile; nil: there are
// too many.
func (r *Reflector) peer(a netip.Addr, now time.Time) *peer {
	p := r.peers[a]
	if p == nil {
		if len(r.peers) >= mostPeers {
			r.sweep(now)
		}
		if len(r.peers) >= mostPeers {
			return nil
		}
		if r.peers == nil {
			r.peers = map[netip.Addr]*peer{}
		}
		p = &peer{tokens: peerBurst, last: now, sessions: map[sessionKey]*session{}}
		r.peers[a] = p
	}
	p.tokens = min(p.tokens+max(now.Sub(p.last), 0).Seconds()*peerRate, peerBurst)
	p.last = now
	return p
}

// sweep forgets addresses that ask no more, at most once a second.
func (r *Reflector) sweep(now time.Time) {
	if now.Sub(r.swept) < time.Second {
		return
	}
	r.swept = now
	for a, p := range r.peers {
		if now.Sub(p.last) >= forget {
			delete(r.peers, a)
		}
	}
}

// session finds one of an address. Where there are too many the oldest goes.
func (p *peer) session(k sessionKey, now time.Time) *session {
	s := p.sessions[k]
	if s == nil {
		if len(p.sessions) >= mostOf {
			p.drop()
		}
		s = &session{}
		p.sessions[k] = s
	} else if now.Sub(s.last) >= forget {
		s.seq = 0
	}
	s.last = now
	return s
}

func (p *peer) drop() {
	var oldest sessionKey
	var at time.Time
	for k, s := range p.sessions {
		if at.IsZero() || s.last.Before(at) {
			oldest, at = k, s.last
		}
	}
	delete(p.sessions, oldest)
}
