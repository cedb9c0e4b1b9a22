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
	a.reloading.Lock()
	defer a.reloading.Unlock()
	pack, err := identity.ParsePack("site pack", text)
	if err != nil {
		return err
	}
	if err := a.sameName("site pack", pack.Site.Gateway); err != nil {
		progress(local.Progress{Step: uplink.StepPack, Text: err.Error()})
		return &local.Error{Text: err.Error(), Advice: "the wrong pack, or the wrong place? ginnel status says which gateway this is"}
	}
	id, err := Enrolment(ctx, a.o.Paths, a.o.Host.Proxy, a.o.Host.ExtraCA, a.o.Version, pack, progress)
	if err != nil {
		return err
	}
	// Not opened anew: two of them on one file would undo each other's marks.
	if err := a.believed().Begin(id.Signers()); err != nil {
		return err
	}
	a.mu.Lock()
	again := a.identity.Enrolled()
	a.identity = id
	a.mu.Unlock()
	a.call(pack.Site.Gateway)
	if !again {
		close(a.enrolled)
	}
	a.o.Log.InfoContext(ctx, "enrolled", "gateway", pack.Site.Gateway, "site", pack.Site.ID)
	return nil
}

// Enrolment is the enrolment itself, also where no agent runs.
func Enrolment(ctx context.Context, paths Paths, proxy, extraCA, version string, pack identity.Pack, progress func(local.Progress)) (*identity.Identity, error) {
	e := uplink.Enrolment{
		Pack: pack, Dir: paths.Identity(), Version: version, Proxy: proxy, Keys: paths.publicKey,
		Progress: func(step string, ok bool, text string) {
			progress(local.Progress{Step: step, OK: ok, Text: text})
		},
	}
	if extraCA != "" {
		var err error
		if e.ExtraCA, err = os.ReadFile(extraCA); err != nil {
			return nil, err
		}
	}
	return uplink.Enrol(ctx, e)
}
