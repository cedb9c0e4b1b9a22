package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Enrolment is one use of a site pack.
type Enrolment struct {
	Pack     identity.Pack
	Identity *identity.Identity // that it is of; nil: the one in Dir
	Dir      string
	Version  string
	Proxy    string // as in Options
	ExtraCA  []byte // as in Options
	// Keys gives the public key of a network of the pack, and makes it on first
	// use; nil: none are proved.
	Keys func(network string) (key.Public, error)
	// Progress is told of each step when it is over; nil: nobody is.
	Progress func(step string, ok bool, text string)
}

// The steps of an enrolment, in their order.
const (
	StepPack        = "site pack"
	StepKey         = "device key"
	StepNetwork     = "key " // and the network
	StepCertificate = "certificate"
	StepSession     = "session"
	StepToken       = "token"
)

// Enrol turns a site pack into an identity: it makes the device key, gets a
// certificate for it with the pack's token, and proves the certificate by one
// session. It may be repeated after any failure. What the collector refuses it
// does not try again.
func Enrol(ctx context.Context, e Enrolment) (*identity.Identity, error) {
	if e.Progress == nil {
		e.Progress = func(string, bool, string) {}
	}
	id, err := e.Identity, error(nil)
	if id == nil {
		id, err = identity.Open(e.Dir)
	}
	if err != nil {
		return nil, e.fail(StepKey, err)
	}
	if err := errors.Join(e.Pack.Usable(time.Now()), id.MayAdopt(e.Pack)); err != nil {
		return nil, e.fail(StepPack, err)
	}
	e.Progress(StepPack, true, fmt.Sprintf("%s, %s, until %s", e.Pack.Site.Gateway, e.Pack.Site.Name, e.Pack.Expires.Format("2 Jan 2006")))
	if err := id.Prepare(); err != nil {
		return nil, e.fail(StepKey, err)
	}
	device, err := id.DevicePublic()
	if err != nil {
		return nil, e.fail(StepKey, err)
	}
	e.Progress(StepKey, true, identity.Fingerprint(device)+", made here, never leaves; instance "+id.UID().String())
	if err := e.prove(id); err != nil {
		return nil, err
	}
	if err := e.certificate(ctx, id); err != nil {
		return nil, e.fail(StepCertificate, err)
	}
	e.Progress(StepCertificate, true, "until "+id.Certificate().NotAfter.Format("2 Jan 2006")+", renews itself")
	if err := e.session(ctx, id); err != nil {
		return nil, e.fail(StepSession, err)
	}
	e.Progress(StepSession, true, strings.TrimPrefix(id.Collector()[0], "https://")+" knows us by our certificate")
	e.Progress(StepToken, true, "used up")
	return id, nil
}

func (e Enrolment) fail(step string, err error) error {
	e.Progress(step, false, err.Error())
	return fmt.Errorf("enrol: %s: %w", step, err)
}

// prove makes the networks' keys and proves them under the pack's secret. The
// proof is on disk before the token is spent: a gateway that is enrolled has
// either told the collector or will.
func (e Enrolment) prove(id *identity.Identity) error {
	if e.Keys == nil || len(e.Pack.Site.Networks) == 0 {
		return nil
	}
	keys, err := publicKeys(e.Pack.Site.Networks, e.Keys)
	if err == nil {
		_, err = id.Prove(e.Pack.Site.Gateway, keys, e.Pack.Secret)
	}
	if err != nil {
		return e.fail(StepNetwork+e.Pack.Site.Networks[0], err)
	}
	for _, n := range e.Pack.Site.Networks {
		k := keys[n]
		e.Progress(StepNetwork+n, true, identity.Fingerprint(k[:]))
	}
	return nil
}

// certificate redeems the token at the first collector that can be reached.
func (e Enrolment) certificate(ctx context.Context, id *identity.Identity) error {
	tls, err := e.Pack.TLSConfig(e.ExtraCA)
	if err != nil {
		return err
	}
	t, err := newTransport(tls, e.Proxy)
	if err != nil {
		return err
	}
	defer t.renew()
	csr, err := certificateRequest(id)
	if err != nil {
		return err
	}
	uid := id.UID()
	var reply *protobufs.ServerToAgent
	err = e.insist(ctx, func(base string) error {
		head := http.Header{"Authorization": {"Bearer " + e.Pack.Token.Reveal()}}
		var err error
		reply, err = t.opamp(ctx, base, &protobufs.AgentToServer{
			InstanceUid: uid[:], Capabilities: uint64(capabilities), ConnectionSettingsRequest: csr,
			AgentDescription: describe(uid, e.Pack.Site, e.Version),
		}, head)
		return err
	})
	if err != nil {
		return err
	}
	cert := reply.GetConnectionSettings().GetOpamp().GetCertificate().GetCert()
	if len(cert) == 0 {
		return &Trouble{Kind: Broken, Text: "the collector took the token and gave no certificate"}
	}
	if err := id.Adopt(e.Pack, time.Now()); err != nil {
		return err
	}
	return id.SaveCertificate(cert)
}

// session says once, by the new certificate, who we are, and hands the proof of
// our keys over. A collector that does not keep it now is told again later.
func (e Enrolment) session(ctx context.Context, id *identity.Identity) error {
	tls, err := id.TLSConfig(e.ExtraCA)
	if err != nil {
		return err
	}
	t, err := newTransport(tls, e.Proxy)
	if err != nil {
		return err
	}
	t.doubt = id.Doubt
	defer t.renew()
	uid := id.UID()
	said, err := json.Marshal(wire.Said{Proofs: id.Proofs()})
	if err != nil {
		return fmt.Errorf("write the proof of our keys: %w", err)
	}
	return e.insist(ctx, func(base string) error {
		reply, err := t.opamp(ctx, base, &protobufs.AgentToServer{
			InstanceUid: uid[:], Capabilities: uint64(capabilities),
			AgentDescription: describe(uid, id.Site(), e.Version),
			CustomMessage:    &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Gateway, Data: said},
		}, nil)
		if err == nil && reply.GetErrorResponse() != nil {
			err = complaint(reply.GetErrorResponse())
		}
		if err != nil {
			return err
		}
		var told wire.Told
		if json.Unmarshal(reply.GetCustomMessage().GetData(), &told) != nil {
			return nil // nothing was said
		}
		return id.Keep(told.Known)
	})
}

// rounds is how often all collectors of a pack are tried: somebody waits.
const rounds = 3

// insist tries each collector in turn until one answers. A refusal, or a way
// that somebody else answers on, is final.
func (e Enrolment) insist(ctx context.Context, try func(base string) error) error {
	p := pace{slowest: 5 * time.Second}
	var err error
	for round := range rounds {
		for _, base := range e.Pack.Collector {
			if err = try(base); err == nil || ctx.Err() != nil {
				return err
			}
			switch kindOf(err) {
			case Unreachable, NoName, Busy, Broken:
			default:
				return err
			}
		}
		if round < rounds-1 && !sleep(ctx, min(p.next(wish(err), slot{}), 15*time.Second), nil) {
			return context.Cause(ctx)
		}
	}
	return err
}
