package control

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/wire"
)

// Agent is what a gateway said of itself since the collector started. It is
// asked again after a restart; what must last is in the store.
type Agent struct {
	Gateway string
	UID     string
	Version string
	Address string    // where its last message came from
	Seen    time.Time // when
	Health  *Component
	// ConfigHash and Config are the running config; secrets are taken out by
	// the gateway. Empty: none runs.
	ConfigHash, Config string
}

// Component is a part of a gateway's health tree.
type Component struct {
	Healthy bool
	Status  string // "up", "degraded", …
	Error   string
	Since   time.Time
	Parts   map[string]*Component
}

// session is an Agent while its messages come.
type session struct {
	Agent
	sequence  uint64
	described bool // it has said everything since the collector started
	steered
}

// Agents is all gateways that were heard since the collector started, by name.
func (s *Server) Agents() []Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Agent, 0, len(s.agents))
	for _, a := range s.agents {
		all = append(all, a.Agent)
	}
	slices.SortFunc(all, func(a, b Agent) int { return cmp.Compare(a.Gateway, b.Gateway) })
	return all
}

// hear takes a message of a gateway with a good certificate.
func (s *Server) hear(ctx context.Context, x *exchange, m *protobufs.AgentToServer) (*protobufs.ServerToAgent, error) {
	if uid, err := uuid.FromBytes(m.GetInstanceUid()); err != nil || uid.String() != x.caller.uid {
		return nil, &Refusal{http.StatusForbidden, "uid_other", "the message is of another instance than the certificate", ""}
	}
	now := s.o.Now()
	said, err := s.hearSaid(x.caller.gateway, m.GetCustomMessage(), now)
	if err != nil {
		return nil, err
	}
	s.hearBoot(ctx, x, said.Boot, now)
	told := wire.Told{Known: s.saveProofs(ctx, x, said.Proofs, now), Receipt: s.receipt(ctx, x.caller.gateway, said)}
	reply := &protobufs.ServerToAgent{}
	if m.GetConnectionSettingsRequest().GetOpamp().GetCertificateRequest() != nil {
		if reply, err = s.renew(ctx, x, m); err != nil {
			return nil, err
		}
	}
	if hash := s.answer(x, m, said, now, reply, &told); hash != "" {
		reply.RemoteConfig = s.remoteConfig(ctx, x.caller.gateway, hash)
	}
	if says(told) {
		reply.CustomMessage, err = envelope(told)
	}
	return reply, err
}

// says whether there is anything to say.
func says(t wire.Told) bool {
	return t.Receipt != nil || len(t.Wanted) > 0 || len(t.Known) > 0 || len(t.List) > 0 || t.Window > 0
}

// answer takes a message and completes the answer to it, from memory; hash is
// of the config to hand over, empty: none.
func (s *Server) answer(x *exchange, m *protobufs.AgentToServer, said wire.Said, now time.Time, reply *protobufs.ServerToAgent, told *wire.Told) (hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[x.caller.gateway]
	if a == nil {
		a = &session{Agent: Agent{Gateway: x.caller.gateway, UID: x.caller.uid}}
		s.agents[x.caller.gateway] = a
	}
	a.Seen, a.Address = now, x.request.RemoteAddr
	if !a.take(m) {
		reply.Flags |= uint64(protobufs.ServerToAgentFlags_ServerToAgentFlags_ReportFullState)
	}
	if a.hears(m, said, now) {
		s.wake()
	}
	beat := s.pace(a.Gateway)
	anew := a.beat == 0 || m.GetAgentDescription() != nil // a gateway that starts anew has forgotten
	if reply.ConnectionSettings == nil && (anew || beat != a.beat) {
		reply.ConnectionSettings = s.offer(nil, beat)
	}
	a.beat = beat
	if anew {
		at, window := s.slot(a.Gateway)
		told.Slot, told.Window = at.Seconds(), window.Seconds()
	}
	if !said.Snapshot.At.IsZero() {
		told.List = s.newerList(said.List)
		told.Wanted = s.unproved(a.Gateway, s.steer.asked[a.Gateway])
	}
	return s.hand(a, now)
}

// take keeps what a message says. False: parts are missing that this message,
// or a lost one before it, should have had.
func (a *session) take(m *protobufs.AgentToServer) bool {
	gap := a.described && m.GetSequenceNum() != a.sequence+1
	a.sequence = m.GetSequenceNum()
	if d := m.GetAgentDescription(); d != nil {
		for _, kv := range d.GetIdentifyingAttributes() {
			if kv.GetKey() == "service.version" {
				a.Version = kv.GetValue().GetStringValue()
			}
		}
		a.described, gap = true, false
	}
	if h := m.GetHealth(); h != nil {
		a.Health = component(h, 0)
	}
	if e := m.GetEffectiveConfig(); e != nil {
		a.Config, a.ConfigHash = "", ""
		for name, f := range e.GetConfigMap().GetConfigMap() {
			a.ConfigHash, a.Config = strings.TrimPrefix(name, "sha256:"), string(f.GetBody())
		}
	}
	return a.described && !gap
}

// maxDepth is how deep a health tree is kept; ours have three levels.
const maxDepth = 8

func component(h *protobufs.ComponentHealth, depth int) *Component {
	c := &Component{Healthy: h.GetHealthy(), Status: h.GetStatus(), Error: h.GetLastError()}
	if ns := h.GetStatusTimeUnixNano(); ns > 0 {
		c.Since = time.Unix(0, int64(ns)).UTC()
	}
	if len(h.GetComponentHealthMap()) > 0 && depth < maxDepth {
		c.Parts = map[string]*Component{}
		for name, part := range h.GetComponentHealthMap() {
			c.Parts[name] = component(part, depth+1)
		}
	}
	return c
}

// hearSaid takes what the gateway says beyond OpAMP. Other custom messages are
// no concern of ours.
func (s *Server) hearSaid(gateway string, c *protobufs.CustomMessage, now time.Time) (said wire.Said, err error) {
	if c.GetCapability() != wire.Capability || c.GetType() != wire.Gateway {
		return said, nil
	}
	if err := json.Unmarshal(c.GetData(), &said); err != nil {
		return wire.Said{}, &Refusal{http.StatusBadRequest, "bad_message", "what the gateway says cannot be read", ""}
	}
	said.Snapshot.Gateway = gateway // by its certificate, whatever it says
	if !said.Snapshot.At.IsZero() {
		s.saver.save(gateway, said.Snapshot, now)
	}
	return said, nil
}
