package agent

import (
	"encoding/hex"
	"strings"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/uplink"
)

// Status tells how the newest offer fares.
func (p *pilot) Status() uplink.OfferStatus {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	if refused.Hash != nil {
		return refused
	}
	r := p.trial.Record()
	hash, err := hex.DecodeString(r.Hash)
	if err != nil || r.Phase == "" {
		return uplink.OfferStatus{}
	}
	s := uplink.OfferStatus{Hash: hash}
	switch r.Phase {
	case trial.Kept:
		s.State = uplink.Applied
	case trial.Trying:
		s.State = uplink.Applying
	case trial.Held, trial.Leaving:
		s.State, s.Message = uplink.Applying, message(r)
	default:
		s.State, s.Message = uplink.Failed, message(r)
	}
	return s
}

// message is a reason with its evidence.
func message(r trial.Record) string {
	return strings.Join(append([]string{r.Reason}, r.Evidence...), "\n")
}

// snapshot is what there is to say of the newest config; what runs is not in it.
func (p *pilot) snapshot() (c block.ConfigSnapshot) {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	r := p.trial.Record()
	c.Mark, c.List = p.a.trust.Mark(), p.a.listNumber()
	c.State, c.Stick = states[r.Phase], r.Stick
	if r.Phase != "" && r.Phase != trial.Kept {
		c.Trial = &block.TrialSnapshot{Generation: r.Generation, Hash: r.Hash, Began: r.Began, Reason: r.Reason, Evidence: r.Evidence}
		if r.Phase == trial.Trying {
			c.Trial.Until = r.Until
		}
	}
	if refused.Hash != nil {
		reason, rest, _ := strings.Cut(refused.Message, "\n")
		c.Stick, c.State, c.Trial = false, block.ConfigFailed, &block.TrialSnapshot{Hash: hex.EncodeToString(refused.Hash), Reason: reason}
		if rest != "" {
			c.Trial.Evidence = strings.Split(rest, "\n")
		}
	}
	return c
}

var states = map[trial.Phase]block.ConfigState{
	trial.Trying: block.ConfigApplying, trial.Held: block.ConfigUnconfirmed, trial.Leaving: block.ConfigApplying,
	trial.Kept: block.ConfigApplied, trial.Failed: block.ConfigFailed, trial.Overridden: block.ConfigOverridden,
}
