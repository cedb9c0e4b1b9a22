package agent

import (
	"context"
	"os"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/uplink"
)

// Enrol enrols the gateway with a site pack and begins to report. The person
// has said yes already.
func (a *Agent) Enrol(ctx context.Context, text []byte, progress func(local.Progress)) error {
	a.acting.Lock()
	defer a.acting.Unlock()
	if a.damaged != nil {
		progress(local.Progress{Step: uplink.StepPack, Text: firstLine(a.damaged)})
		return a.refuseDamaged("enrolment")
	}
	pack, err := identity.ParsePack("site pack", text)
	if err != nil {
		return err
	}
	if err := a.sameName("site pack", pack.Site.Gateway); err != nil {
		progress(local.Progress{Step: uplink.StepPack, Text: err.Error()})
		return &local.Error{Text: err.Error(), Advice: "the wrong pack, or the wrong place? ginnel status says which gateway this is"}
	}
	// Neither the identity nor what it believes is opened anew: of two on one file
	// one undoes what the other writes.
	again := a.identity.Enrolled()
	if err := Enrolment(ctx, a.identity, a.o.Paths, a.o.Host.Proxy, a.o.Host.ExtraCA, a.o.Version, pack, progress); err != nil {
		return err
	}
	if err := a.trust.Begin(a.identity.Signers()); err != nil {
		return err
	}
	a.call(pack.Site.Gateway)
	if !again {
		close(a.enrolled)
	} else {
		tip(a.anew)
	}
	a.o.Log.InfoContext(ctx, "enrolled", "gateway", pack.Site.Gateway, "site", pack.Site.ID)
	return nil
}

// Enrolment is the enrolment itself, of an identity that is open already, or,
// where no agent runs and it is nil, of the one that the paths say.
func Enrolment(ctx context.Context, id *identity.Identity, paths Paths, proxy, extraCA, version string, pack identity.Pack, progress func(local.Progress)) error {
	e := uplink.Enrolment{
		Pack: pack, Identity: id, Dir: paths.Identity(), Version: version, Proxy: proxy, Keys: paths.publicKey,
		Progress: func(step string, ok bool, text string) {
			progress(local.Progress{Step: step, OK: ok, Text: text})
		},
	}
	if extraCA != "" {
		var err error
		if e.ExtraCA, err = os.ReadFile(extraCA); err != nil {
			return err
		}
	}
	_, err := uplink.Enrol(ctx, e)
	return err
}
