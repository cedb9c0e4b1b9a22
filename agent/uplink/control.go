package uplink

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/wire"
)

// Names of the control link.
const (
	opampPath = "/v1/opamp"
	opampType = "application/x-protobuf"
)

// The heartbeat: what is used until the collector says, and what it may say.
const (
	firstHeartbeat = 30 * time.Second
	leastHeartbeat = time.Second
	mostHeartbeat  = time.Hour
	gather         = 200 * time.Millisecond // changes of one cause go in one message
	trialPause     = 5 * time.Second        // the longest while a trial waits for its receipt,
	trialTime      = 5 * time.Minute        // for as long as this
	renewEvery     = time.Hour              // a clock that is wrong asks no more often
	renewExpired   = time.Minute            // nor one of the collector's
)

// capabilities that we report. What is not here, the collector cannot ask for:
// packages, commands, connections other than its own. A gateway with Steering
// has steered too.
const capabilities = protobufs.AgentCapabilities_AgentCapabilities_ReportsStatus |
	protobufs.AgentCapabilities_AgentCapabilities_ReportsEffectiveConfig |
	protobufs.AgentCapabilities_AgentCapabilities_ReportsHealth |
	protobufs.AgentCapabilities_AgentCapabilities_ReportsHeartbeat |
	protobufs.AgentCapabilities_AgentCapabilities_AcceptsOpAMPConnectionSettings

const steered = protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig |
	protobufs.AgentCapabilities_AgentCapabilities_ReportsRemoteConfig

// maxEffective is the size in bytes of the longest running config that is sent
// with its text; a longer one is named by its hash. The collector reads messages
// of up to a MiB.
const maxEffective = 512 << 10

// talk is the control link's state, owned by its loop.
type talk struct {
	u        *Uplink
	sequence uint64
	full     bool        // the next message says everything
	expired  bool        // the collector called our certificate so
	renewed  time.Time   // when a certificate came last; zero: none did
	sum      [32]byte    // of the health that was sent last
	config   string      // hash of the effective config that was sent last
	offer    OfferStatus // that was sent last
	nonce    string      // of the trial whose receipt was asked for last; empty: none
	asked    time.Time   // when it was, first
}

// Control keeps the collector told: everything at first, then at each heartbeat
// a snapshot and what changed, and within a second after Wake. It returns nil
// when ctx ends.
func (u *Uplink) Control(ctx context.Context, ready func()) error {
	ready()
	u.proveAgain(ctx)
	t := &talk{u: u, full: true}
	p := pace{slowest: u.o.Slowest}
	for ctx.Err() == nil {
		base := u.base()
		again, err := t.turn(ctx, base)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			t.full = true
			if errors.Is(err, errFresh) { // nobody's fault
				p.reset()
				sleep(ctx, leastPause, nil)
				continue
			}
			t.expired = codeOf(err) == "certificate_expired"
			u.control.recover(ctx, t.hurry(u.failed(ctx, controlLoop, base, err, &p), wish(err)))
		case again:
			p.reset()
			sleep(ctx, gather, nil)
		default:
			p.reset()
			// Not all gateways in the same second: a tenth to either side.
			beat := t.hurry(u.link.heartbeat(), 0)
			_ = u.control.rest(ctx, beat*9/10+rand.N(beat/5)) && sleep(ctx, gather, nil)
		}
	}
	return nil
}

// hurry is a pause, cut short while a trial waits for its receipt, but not below
// what the collector wishes. A trial that is held for long has time.
func (t *talk) hurry(d, wish time.Duration) time.Duration {
	if t.nonce != "" && time.Since(t.asked) < trialTime {
		return min(d, max(trialPause, wish))
	}
	return d
}

// wish is how long the collector asked to wait; 0: it did not.
func wish(err error) time.Duration {
	if t, ok := errors.AsType[*Trouble](err); ok {
		return t.After
	}
	return 0
}

// turn is one message to the collector at base and its answer. again: there is
// more to say at once. Either the collector wants the full state, and has not had
// it just now; or it gave us a certificate, and may have heard nothing else.
func (t *talk) turn(ctx context.Context, base string) (again bool, err error) {
	wasFull := t.full
	m, err := t.message()
	if err != nil {
		return false, err
	}
	t.full = false
	reply, err := t.u.http.opamp(ctx, base, m, nil)
	if err != nil {
		return false, err
	}
	if e := reply.GetErrorResponse(); e != nil {
		return false, complaint(e)
	}
	t.u.succeeded(ctx, controlLoop, base)
	if t.take(ctx, reply, m.GetConnectionSettingsRequest() != nil) {
		t.full, t.expired, t.renewed = true, false, time.Now()
		t.u.deliver.heal()
		return true, nil
	}
	if reply.GetFlags()&uint64(protobufs.ServerToAgentFlags_ServerToAgentFlags_ReportFullState) != 0 {
		t.full = true
		again = !wasFull
	}
	return again, nil
}

// message is the next one.
func (t *talk) message() (*protobufs.AgentToServer, error) {
	snap := t.u.o.Snapshot()
	said, err := t.said(snap)
	if err != nil {
		return nil, err
	}
	uid := t.u.o.Identity.UID()
	m := &protobufs.AgentToServer{InstanceUid: uid[:], SequenceNum: t.sequence, Capabilities: uint64(capabilities), CustomMessage: said}
	t.sequence++
	health := healthOf(snap)
	sum, err := digest(health)
	if err != nil {
		return nil, err
	}
	if t.full || sum != t.sum {
		m.Health, t.sum = health, sum
	}
	var hash, text string
	if t.u.o.Effective != nil {
		hash, text = t.u.o.Effective()
	}
	if t.full || hash != t.config {
		m.EffectiveConfig, t.config = effective(hash, text), hash
	}
	if t.full {
		m.AgentDescription = describe(uid, t.u.o.Identity.Site(), t.u.o.Version)
		m.CustomCapabilities = &protobufs.CustomCapabilities{Capabilities: []string{wire.Capability}}
	}
	if t.u.o.Steering != nil {
		m.Capabilities |= uint64(steered)
		if o := t.u.o.Steering.Status(); t.full || !o.equal(t.offer) {
			m.RemoteConfigStatus, t.offer = o.status(), o
		}
	}
	if t.due() {
		if m.ConnectionSettingsRequest, err = certificateRequest(t.u.o.Identity); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// due says whether to ask for a certificate. The collector's word counts for
// more than our clock, which may be behind.
func (t *talk) due() bool {
	least := renewEvery
	if t.expired {
		least = renewExpired
	}
	if !t.renewed.IsZero() && time.Since(t.renewed) < least {
		return false
	}
	c := t.u.o.Identity.Certificate()
	now := t.u.http.clock()
	return t.expired || c == nil || now.Before(c.NotBefore) || now.After(t.u.o.Identity.RenewAt())
}

// said is our part of every message.
func (t *talk) said(snap block.Snapshot) (*protobufs.CustomMessage, error) {
	s := wire.Said{Snapshot: snap}
	t.u.sayKeys(&s)
	if t.u.o.Steering != nil {
		t.u.o.Steering.Say(&s)
	}
	if s.Nonce != t.nonce {
		t.nonce, t.asked = s.Nonce, time.Now()
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the state of the gateway: %w", err)
	}
	return &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Gateway, Data: data}, nil
}

// digest is equal for equal health.
func digest(h *protobufs.ComponentHealth) ([32]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	if err != nil {
		return [32]byte{}, fmt.Errorf("write the health tree: %w", err)
	}
	return sha256.Sum256(raw), nil
}

// take follows what the collector may ask of us: the pace, a certificate for
// our own key where we asked for one, and what Steering looks at before it
// believes it. renewed: there is a new certificate.
func (t *talk) take(ctx context.Context, reply *protobufs.ServerToAgent, asked bool) (renewed bool) {
	told := t.hear(ctx, reply.GetCustomMessage())
	if r := reply.GetRemoteConfig(); r != nil && t.u.o.Steering != nil {
		t.u.o.Steering.Offer(ctx, r.GetConfigHash(), r.GetConfig().GetConfigMap()[wire.BundleFile].GetBody())
	}
	offer := reply.GetConnectionSettings().GetOpamp()
	t.u.kept(ctx, t.u.link.commanded(func(k *kept) {
		if s := offer.GetHeartbeatIntervalSeconds(); s > 0 {
			k.Heartbeat = float64(min(s, 1<<30))
		}
		if told.Window > 0 {
			k.Slot, k.Window = told.Slot, told.Window
		}
	}))
	cert := offer.GetCertificate().GetCert()
	if len(cert) == 0 || !asked {
		return false
	}
	if err := t.u.o.Identity.SaveCertificate(cert); err != nil {
		t.u.o.Log.ErrorContext(ctx, "the certificate was not renewed", "err", err)
		return false
	}
	t.u.http.renew()
	t.u.o.Log.InfoContext(ctx, "the certificate was renewed", "until", t.u.o.Identity.Certificate().NotAfter)
	return true
}

// hear takes what the collector says beyond OpAMP.
func (t *talk) hear(ctx context.Context, c *protobufs.CustomMessage) wire.Told {
	if c.GetCapability() != wire.Capability || c.GetType() != wire.Centre {
		return wire.Told{}
	}
	var told wire.Told
	if err := json.Unmarshal(c.GetData(), &told); err != nil {
		t.u.o.Log.WarnContext(ctx, "the collector said something that cannot be read", "err", err)
		return wire.Told{}
	}
	t.u.hearKeys(ctx, told)
	if t.u.o.Steering != nil {
		t.u.o.Steering.Hear(ctx, told)
	}
	return told
}

// complaint is an error that the collector put into a message.
func complaint(e *protobufs.ServerErrorResponse) *Trouble {
	if e.GetType() == protobufs.ServerErrorResponseType_ServerErrorResponseType_Unavailable {
		return &Trouble{Kind: Busy, Text: "the collector asks to come later",
			After: min(maxAfter, time.Duration(min(e.GetRetryInfo().GetRetryAfterNanoseconds(), uint64(maxAfter))))}
	}
	return &Trouble{Kind: Refused, Text: "the collector refused: " + e.GetErrorMessage()}
}
