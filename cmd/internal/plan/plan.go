// Package plan compares what the files of a fleet want with what its gateways
// say that they run: what changes where, what is to be looked at, and what a
// push sends. It is pure: the desk reads the files and asks the collector, and
// whoever signs is given to it.
//
// Nothing that the collector says is signed. What runs comes into a way back
// only where an operator's signature is under it, and public keys come from the
// verified chain (cmd/internal/keychain) alone.
package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/tunnels"
)

// Format is the version of a plan as a file; another one is refused.
const Format = 1

// Plan is what a push would do. As JSON it is a plan file: whole, with every
// text, to be reviewed and pushed as it is.
type Plan struct {
	Format   int       `json:"ginnel_plan"`
	Fleet    string    `json:"fleet"` // "fleet 3f2a91c"
	Made     time.Time `json:"made"`
	Gateways int       `json:"gateways"` // compared
	Sites    int       `json:"sites"`

	Stay    int `json:"stay"`
	Wait    int `json:"wait"`    // gateways that cannot be given a config yet
	Refused int `json:"refused"` // gateways that are left out
	Others  int `json:"others"`  // gateways that are not this operator's

	Looks   []Look   `json:"look_at,omitempty"`
	Changes []Change `json:"changes,omitempty"`

	Rollout Rollout             `json:"rollout"`
	Wanted  map[string][]string `json:"wanted,omitempty"` // networks for which gateways are to make a key
}

// Rollout is how the files want a push to go on.
type Rollout struct {
	Rings         []string          `json:"rings"` // the first is "hubs"
	Window        string            `json:"window,omitempty"`
	Pause         centre.Pause      `json:"pause"`
	Organisations map[string]string `json:"organisations,omitempty"` // by network
}

// Change is one gateway that is to run something else.
type Change struct {
	Gateway string   `json:"gateway"`
	Site    string   `json:"site,omitempty"`
	Hub     bool     `json:"hub,omitempty"`
	Lines   []string `json:"lines"` // what changes, as the summary has it
	Cuts    []string `json:"cuts,omitempty"`

	Ring   int      `json:"ring"`
	Window string   `json:"window,omitempty"`
	Needs  []string `json:"needs,omitempty"`
	Apart  []string `json:"apart,omitempty"`

	Over     centre.ConfigRef `json:"over,omitzero"`    // wanted there when the plan was made
	Running  centre.ConfigRef `json:"running,omitzero"` // what it said that it ran
	Text     Text             `json:"text"`
	Back     Text             `json:"back,omitempty"`     // empty: nothing that is known ran there
	BackWhy  string           `json:"back_why,omitempty"` // why there is no way back
	Sequence uint64           `json:"generation"`         // of Text; Back has the next one
	old, new *config.Config   // as parsed; not of the file
}

// Look is something that an operator should look at.
type Look struct {
	Kind    string `json:"kind"` // "new key", "refused", …
	Gateway string `json:"gateway"`
	Head    string `json:"head,omitempty"` // what is not wrapped: names and a fingerprint
	Text    string `json:"text"`
	Hint    string `json:"hint,omitempty"`
}

// The kinds of Look, in the order in which they are shown.
const (
	NewKey      = "new key"
	ChangedKey  = "changed" // a key that is to be approved
	BadProof    = "bad proof"
	OldKey      = "old key" // in a way back
	Refused     = "refused"
	Clone       = "two of it"
	Failed      = "failed"
	Unconfirmed = "held"
	Override    = "by hand"
	Drift       = "drift"
	OnTheWay    = "under way"
	NotSeen     = "not seen"
	Waiting     = "waiting"
	NoWayBack   = "no back"
)

var kinds = []string{ChangedKey, BadProof, NewKey, OldKey, Refused, Clone, Failed, Unconfirmed, Override, Drift, NoWayBack, OnTheWay, NotSeen, Waiting}

// Text is the text of a config; in JSON a list of its lines, so that people can
// read it, and review tools compare it.
type Text []byte

// MarshalJSON writes the lines.
func (t Text) MarshalJSON() ([]byte, error) {
	return json.Marshal(strings.Split(strings.TrimSuffix(string(t), "\n"), "\n"))
}

// UnmarshalJSON joins the lines.
func (t *Text) UnmarshalJSON(raw []byte) error {
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return err
	}
	*t = Text(strings.Join(lines, "\n") + "\n")
	return nil
}

// Nothing says that there is nothing to push.
func (p *Plan) Nothing() bool { return len(p.Changes) == 0 && len(p.Wanted) == 0 }

// Change gives the change of one gateway.
func (p *Plan) Change(gateway string) (*Change, bool) {
	i := slices.IndexFunc(p.Changes, func(c Change) bool { return c.Gateway == gateway })
	if i < 0 {
		return nil, false
	}
	return &p.Changes[i], true
}

// Parse reads a plan file.
func Parse(raw []byte) (*Plan, error) {
	var head struct {
		Format int `json:"ginnel_plan"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("this is not a plan: %w", err)
	}
	if head.Format != Format {
		return nil, fmt.Errorf("this plan has format %d, and this program reads %d: make the plan again", head.Format, Format)
	}
	var p Plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if len(p.Rollout.Rings) == 0 {
		return nil, errors.New("plan: it has no rings")
	}
	seen := map[string]bool{}
	for i := range p.Changes {
		c := &p.Changes[i]
		switch err := c.parse(); {
		case err != nil:
			return nil, fmt.Errorf("plan: %w", err)
		case seen[c.Gateway]:
			return nil, fmt.Errorf("plan: %s is in it twice", c.Gateway)
		case c.Ring < 0 || c.Ring >= len(p.Rollout.Rings):
			return nil, fmt.Errorf("plan: %s is in ring %d of %d", c.Gateway, c.Ring, len(p.Rollout.Rings))
		}
		// What is shown of a change is what it is, whatever the file says, and
		// so is what must not happen before or beside it.
		seen[c.Gateway] = true
		c.Hub = c.Hub || slices.ContainsFunc(c.new.Networks, func(n config.Network) bool { return n.Role == tunnels.Hub })
		c.describe()
	}
	p.order()
	return &p, nil
}

// describe says what a change is.
func (c *Change) describe() {
	if c.Lines = Diff(c.old, c.new); len(c.Lines) == 0 {
		c.Lines = []string{"~ written otherwise, with the same meaning"}
	}
	c.Cuts = cuts(c)
}

// parse reads the texts, which must be for this gateway and generation.
func (c *Change) parse() (err error) {
	if c.new, err = parseOwn(c.Gateway, c.Text, c.Sequence); err != nil {
		return err
	}
	if len(c.Back) > 0 {
		c.old, err = parseOwn(c.Gateway, c.Back, c.Sequence+1)
	}
	return err
}

func parseOwn(gateway string, text []byte, generation uint64) (*config.Config, error) {
	c, err := config.Parse(gateway, text)
	switch {
	case err != nil:
		return nil, err
	case c.Gateway != gateway:
		return nil, fmt.Errorf("%s: the text is for %s", gateway, c.Gateway)
	case c.Generation != generation:
		return nil, fmt.Errorf("%s: the text is of generation %d, not %d", gateway, c.Generation, generation)
	}
	return c, nil
}
