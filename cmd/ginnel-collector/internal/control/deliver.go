package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strings"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// The pace that gateways are told.
const (
	hurryBeat = 2 * time.Second // to those whose turn it is
	mostBeats = 400             // messages a second that all heartbeats may make together
	maxNonce  = 256             // bytes
)

// inconclusive is how a trial's reason begins that blames nobody.
const inconclusive = "inconclusive"

// steered is what a session knows of the gateway's configs.
type steered struct {
	accepts  bool // it takes configs from here
	reported bool // it has said how it fares with them since the collector started
	said     rollout.Gateway
	offer    *protobufs.RemoteConfigStatus
	given    string // hash of what it was handed last
	list     uint64 // number of the list in force there
	beat     uint64 // seconds between heartbeats that it was told
	older    bool   // it has been logged that it knows more than we do
}

// gateway is what the session knows, as rollouts read it.
func (a *session) gateway() rollout.Gateway {
	g := a.said
	g.Seen = a.Seen
	if a.offer == nil {
		return g
	}
	g.Offer = hex.EncodeToString(a.offer.GetLastRemoteConfigHash())
	held := g.State
	switch a.offer.GetStatus() {
	case protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLIED:
		g.State = block.ConfigApplied
	case protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLYING:
		g.State = block.ConfigApplying
		if held == block.ConfigUnconfirmed {
			g.State = held
		}
	case protobufs.RemoteConfigStatuses_RemoteConfigStatuses_FAILED:
		g.State = block.ConfigFailed
	default:
		g.Offer, g.State = "", ""
	}
	if held == block.ConfigOverridden && g.State == block.ConfigApplied {
		g.State = held
	}
	if text := a.offer.GetErrorMessage(); text != "" {
		g.Reason, _, _ = strings.Cut(text, "\n")
	}
	g.Inconclusive = g.State == block.ConfigFailed && strings.HasPrefix(g.Reason, inconclusive)
	return g
}

// hears takes what a message tells of configs. True: a rollout may turn on it.
func (a *session) hears(m *protobufs.AgentToServer, w wire.Said, now time.Time) bool {
	before := a.gateway()
	a.accepts = m.GetCapabilities()&uint64(protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig) != 0
	if m.GetAgentDescription() != nil { // it says everything
		a.offer = nil
	}
	if o := m.GetRemoteConfigStatus(); o != nil {
		a.offer = o
	}
	a.reported = a.reported || m.GetAgentDescription() != nil
	if !w.Snapshot.At.IsZero() {
		a.said, a.list = said(w.Snapshot, now), w.List
	}
	after := a.gateway()
	return before.Seen.IsZero() || before.Offer != after.Offer || before.State != after.State || before.Running != after.Running ||
		before.Mark != after.Mark || before.Health != after.Health || !before.Began.Equal(after.Began)
}

// hand says what a gateway is to be handed with this answer: the hash of a
// config, or nothing. The caller holds mu.
func (s *Server) hand(a *session, now time.Time) string {
	if !a.accepts || !a.reported || s.steer.unsaved[a.Gateway] {
		return ""
	}
	g := s.complete(a.Gateway, a.gateway(), now)
	if g.Wanted.Hash != "" && g.Wanted.Generation < g.Mark && !a.older {
		a.older = true
		s.o.Log.Warn("a gateway has accepted a newer config than this collector knows of; it is offered nothing older", "gateway", a.Gateway,
			"accepted", g.Mark, "wanted", g.Wanted.Generation)
	}
	ok := rollout.Hand(g)
	if l, p := s.steer.of(a.Gateway); p != nil {
		ok = l.r.Hand(*p, g, s.steer.freeze, now)
	}
	if !ok {
		return ""
	}
	a.given = g.Wanted.Hash
	return g.Wanted.Hash
}

// remoteConfig reads what is handed over. Nothing is handed where it cannot be
// read: the gateway asks again with its next message.
func (s *Server) remoteConfig(ctx context.Context, gateway, hash string) *protobufs.AgentRemoteConfig {
	got, err := s.o.Store.Bundles(ctx, []string{hash})
	if err != nil || len(got) == 0 {
		s.o.Log.ErrorContext(ctx, "cannot read what a gateway is to have", "gateway", gateway, "hash", hash, "err", err)
		return nil
	}
	sum, err := hex.DecodeString(hash)
	if err != nil {
		return nil // no bundle has such a hash
	}
	return &protobufs.AgentRemoteConfig{ConfigHash: sum, Config: &protobufs.AgentConfigMap{
		ConfigMap: map[string]*protobufs.AgentConfigFile{wire.BundleFile: {Body: got[0].Bytes, ContentType: "text/plain"}}}}
}

// receipt signs that a trial's nonce was heard. It says no more than that: whose
// config that is and whether it may run is for the operators' signatures, which
// the gateway judges; it may have come on a stick and be unknown here, or a hold
// may end long after something else is wanted. Nil: none.
func (s *Server) receipt(ctx context.Context, gateway string, w wire.Said) *wire.Receipt {
	if w.Nonce == "" || len(w.Nonce) > maxNonce || strings.ContainsAny(w.Nonce, "\r\n") {
		return nil
	}
	if raw, err := hex.DecodeString(w.Hash); err != nil || len(raw) != sha256.Size {
		return nil
	}
	r := &wire.Receipt{Hash: w.Hash, Nonce: w.Nonce}
	sum := sha256.Sum256(r.Text(gateway))
	var err error
	if r.Signature, err = ecdsa.SignASN1(rand.Reader, s.ca.key, sum[:]); err != nil {
		s.o.Log.ErrorContext(ctx, "cannot sign a receipt", "gateway", gateway, "err", err)
		return nil
	}
	return r
}

// newerList is the list in force, where it is newer than what the gateway has;
// the caller holds mu.
func (s *Server) newerList(has uint64) []byte {
	if s.steer.list.Number <= has {
		return nil
	}
	return s.steer.list.Bytes
}

// idle is the usual pace: slower than it was asked for where there are more
// gateways than the collector wants to hear so often. The caller holds mu.
func (s *Server) idle() time.Duration {
	return max(s.o.Heartbeat, time.Duration(len(s.agents))*time.Second/mostBeats)
}

// pace is how often a gateway calls, in whole seconds: in a hurry while its
// turn has come, or is the next. The caller holds mu.
func (s *Server) pace(gateway string) uint64 {
	beat := s.idle()
	if l, p := s.steer.of(gateway); p != nil && p.Ring <= l.r.Ring+1 && l.hurries(*p, s.o.Now().Add(2*beat)) {
		beat = min(beat, max(hurryBeat, time.Duration(len(s.agents))*time.Second/mostBeats))
	}
	return max(1, uint64(math.Round(beat.Seconds())))
}

// hurries says whether something is about to happen to p: soon is when a gateway
// that is told now has heard it at the latest.
func (l *live) hurries(p rollout.Push, soon time.Time) bool {
	switch p.Stage {
	case rollout.Waiting:
		next := l.waits == "" || !l.again.IsZero() && l.again.Before(soon)
		return l.busy() && next && l.State != centre.RolloutPaused
	case rollout.Offered, rollout.Applying, rollout.Unconfirmed:
		return true
	}
	return false
}
