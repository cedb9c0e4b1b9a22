package agent

import (
	"errors"
	"fmt"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/local"
)

// A file that cannot be read, of the identity or of what is believed, stays as it
// is for whoever mends it. Until then the last good config runs, so that a site has
// its tunnels after a reboot, and whatever would write or rely on that file is
// refused: configs, lists, enrolment, rollback.

// refuseDamaged is the error of an act that is refused by that.
func (a *Agent) refuseDamaged(what string) error {
	advice := ""
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](a.damaged); ok {
		advice = h.Hint() + "; then systemctl restart ginnel"
	}
	return &local.Error{Text: fmt.Sprintf("%s refused: %s", what, firstLine(a.damaged)), Advice: advice}
}

// ranPushed says whether what ran last came from the centre, where nobody can ask
// what is believed.
func (a *Agent) ranPushed() bool {
	text, err := a.o.Paths.Journal().Good()
	if err != nil || text == nil {
		return false
	}
	c, err := config.Parse(pushedFile, text)
	return err == nil && c.Generation > 0
}
