package agent

import "github.com/ginnel/ginnel/agent/uplink"

// Steering is the part of an agent that the centre can move.
func (a *Agent) Steering() uplink.Steering { return a.pilot }
