package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/identity"
)

// ErrDeclined is what Enrol returns when the person said no.
var ErrDeclined = errors.New("not enrolled: the answer was no, nothing was changed")

// Enrolment is one use of a site pack.
type Enrolment struct {
	Pack     identity.Pack
	PackFile string // where the pack lies, its token is taken out of it at the end; empty: nowhere
	Dir      string // of the identity
	Version  string
	Proxy    string // as in Options
	ExtraCA  []byte // as in Options
	// Confirm reads the pack aloud and asks; nil: yes.
	Confirm func(identity.Pack) bool
	// Progress is told of each step when it is over; nil: nobody is.
	Progress func(step string, ok bool, text string)
}

// The steps of an enrolment, in their order.
const (
	StepPack        = "site pack"
	StepKey         = "device key"
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
	id, err := identity.Open(e.Dir)
	if err != nil {
		return nil, e.fail(StepKey, err)
	}
	if err := errors.Join(e.Pack.Usable(time.Now()), id.MayAdopt(e.Pack)); err != nil {
		return nil, e.fail(StepPack, err)
	}
	if e.Confirm != nil && !e.Confirm(e.Pack) {
		return nil, ErrDeclined
	}
	e.Progress(StepPack, true, fmt.Sprintf("%s, %s, until %s", e.Pack.Site.Gateway, e.Pack.Site.Name, e.Pack.Expires.Format("2 Jan 2006")))
	if err := id.Prepare(); err != nil {
		return nil, e.fail(StepKey, err)
	}
	e.Progress(StepKey, true, "made here, never leaves; instance "+id.UID().String())
	if err := e.certificate(ctx, id); err != nil {
		return nil, e.fail(StepCertificate, err)
	}
	e.Progress(StepCertificate, true, "until "+id.Certificate().NotAfter.Format("2 Jan 2006")+", renews itself")
	if err := e.session(ctx, id); err != nil {
		return nil, e.fail(StepSession, err)
	}
	e.Progress(StepSession, true, strings.TrimPrefix(id.Collector()[0], "https://")+" knows us by our certificate")
	e.spend()
	return id, nil
}

func (e Enrolment) fail(step string, err error) error {
	e.Progress(step, false, err.Error())
	return fmt.Errorf("enrol: %s: %w", step, err)
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

// session says once, by the new certificate, who we are.
func (e Enrolment) session(ctx context.Context, id *identity.Identity) error {
	tls, err := id.TLSConfig(e.ExtraCA)
	if err != nil {
		return err
	}
	t, err := newTransport(tls, e.Proxy)
	if err != nil {
		return err
	}
	defer t.renew()
	uid := id.UID()
	return e.insist(ctx, func(base string) error {
		reply, err := t.opamp(ctx, base, &protobufs.AgentToServer{
			InstanceUid: uid[:], Capabilities: uint64(capabilities),
			AgentDescription: describe(uid, id.Site(), e.Version),
		}, nil)
		if err == nil && reply.GetErrorResponse() != nil {
			err = complaint(reply.GetErrorResponse())
		}
		return err
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

// spend takes the token out of the pack's file. It is worthless by now, so a
// file that cannot be written is worth a word, not a failure.
func (e Enrolment) spend() {
	if e.PackFile == "" {
		e.Progress(StepToken, true, "used up")
		return
	}
	if err := identity.SpendPack(e.PackFile); err != nil {
		e.Progress(StepToken, true, "used up; it could not be taken out of the file: "+err.Error())
		return
	}
	e.Progress(StepToken, true, "used up, and taken out of "+e.PackFile)
}
