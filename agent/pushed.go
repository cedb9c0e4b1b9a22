package agent

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ginnel/ginnel/agent/local"
)

// Whose config runs: by hand that of the file, until the first signed one is
// accepted, from the centre or by `ginnel apply`. From then on the file is
// refused by name. So a gateway that ran by hand goes on as it is while it is
// enrolled, up to its first push, and never runs two configs in turn.

// centreRules reports whether the config is the centre's.
func (a *Agent) centreRules() bool { return a.trust.Mark() > 0 || a.damaged != nil && a.ranPushed() }

// ErrCentreRules says that the config comes from the centre.
var ErrCentreRules = errors.New("the config of this gateway comes from the centre")

// bootPushed runs what the journal says, or else what was kept last.
func (a *Agent) bootPushed(ctx context.Context) {
	a.refuseFile(ctx)
	journal := a.o.Paths.Journal()
	text, _, err := journal.Boots(a.boot)
	if a.damaged != nil { // nobody can go on with a trial
		text, err = journal.Good()
	}
	if err != nil {
		a.o.Log.ErrorContext(ctx, "the trial's journal cannot be read", "err", err)
	}
	if text == nil {
		a.o.Log.InfoContext(ctx, "no config, nothing to do")
		return
	}
	if err = a.run(ctx, text, true); err == nil {
		return
	}
	a.o.Log.ErrorContext(ctx, "the config cannot be run", "err", firstLine(err))
	a.mu.Lock()
	a.fault = err
	a.mu.Unlock()
	if good, _ := journal.Good(); good != nil {
		if err := a.run(ctx, good, false); err != nil {
			a.o.Log.ErrorContext(ctx, "nor can the last good one", "err", firstLine(err))
		}
	}
}

// refuseFile shows that there is a config written by hand, which does not count.
// It is no fault of the site's.
func (a *Agent) refuseFile(ctx context.Context) (ignored string) {
	if _, err := os.Stat(a.o.Config); err == nil {
		ignored = fmt.Sprintf("%s does not count: %v", a.o.Config, ErrCentreRules)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if ignored != "" && a.ignored == "" {
		a.o.Log.WarnContext(ctx, "a config written by hand is refused", "file", a.o.Config, "err", ErrCentreRules)
	}
	a.ignored = ignored
	return ignored
}

// reloadPushed has the config that runs run again, after `ginnel down` for one.
func (a *Agent) reloadPushed(ctx context.Context) error {
	ignored := a.refuseFile(ctx)
	a.mu.Lock()
	text := a.text
	a.fault = nil
	a.mu.Unlock()
	if text != nil {
		if err := a.run(ctx, text, false); err != nil {
			return err
		}
	}
	if ignored != "" {
		return &local.Error{Text: ignored, Advice: "take the file away; what runs was applied again as it is"}
	}
	return nil
}

// run has a config run in the place of the one that does.
func (a *Agent) run(ctx context.Context, text []byte, host bool) error {
	defer a.act()()
	c, err := a.vet(ctx, pushedFile, text, host)
	if err != nil {
		return err
	}
	a.put(ctx, c)
	return nil
}
