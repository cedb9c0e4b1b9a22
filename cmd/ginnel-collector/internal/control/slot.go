package control

import (
	"encoding/json"
	"hash/fnv"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/wire"
)

// slot is a gateway's moment in a window as long as the heartbeat: a collector
// that was lost is called on its return as evenly as one that was not.
func (s *Server) slot(gateway string) (at, window time.Duration) {
	window = s.o.Heartbeat
	h := fnv.New64a()
	h.Write([]byte(gateway)) // never fails
	return time.Duration(h.Sum64() % uint64(window)), window
}

// envelope is what is told beyond OpAMP.
func envelope(t wire.Told) (*protobufs.CustomMessage, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Centre, Data: data}, nil
}
