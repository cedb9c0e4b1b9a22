package agent

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

// silences remembers of each hub when something came from it last, and how much
// had been sent by then.
type silences struct {
	mu sync.Mutex
	of map[string]silence
}

type silence struct {
	at             time.Time
	sent, received int64
}

// since takes a look at a hub's counters and gives the silence that it ends or
// goes on with.
func (s *silences) since(name string, now tunnels.Seen, at time.Time) silence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]silence{}
	}
	was, known := s.of[name]
	switch {
	case !known && now.Received > 0:
		// What came before we looked came with the last handshake, or since.
		was = silence{now.LastHandshake, now.Sent, now.Received}
	case !known, now.Received != was.received, now.Sent < was.sent:
		was = silence{at, now.Sent, now.Received}
	}
	s.of[name] = was
	return was
}

func splitHostPort(endpoint string) (string, uint16) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return endpoint, 0
	}
	n, _ := strconv.ParseUint(port, 10, 16) // the config has been checked
	return host, uint16(n)
}
