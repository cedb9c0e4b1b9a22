package tunnels

import "time"

// lastPlan is what the plan before was made from, and what is left of it.
type lastPlan struct {
	made    bool
	order   int             // as of it
	want    State           //
	pending map[object]bool // not written yet
}

// repairs marks the steps that undo what somebody else did: the object was as
// wanted, or we have written it since, and nothing else is wanted of it now. Of
// those, what is contested is held. A peer's endpoint is no repair, for it moves
// by itself, nor is what a device lost that is made anew. The caller holds m.mu.
func (m *Manager) repairs(steps []planned, want State, order int) {
	now := time.Now()
	m.heldUntil = time.Time{}
	was := m.last
	m.last = lastPlan{made: true, order: order, want: want, pending: objects(steps)}
	if len(steps) == 0 || !was.made {
		return
	}
	changed := map[object]bool{}
	if was.order != order {
		return
	}
	for _, s := range plan(want, was.want) {
		for _, w := range s.Writes() {
			changed[w.object()] = true
		}
	}
	anew := map[string]bool{}
	for _, s := range steps {
		if s.Kind == DeviceKind && s.Op == Add {
			anew[s.Device.Name] = true
		}
	}
	for i := range steps {
		s := &steps[i]
		o := s.object()
		if changed[o] || was.pending[o] && m.fights[o] == nil || s.Fields.Endpoint || s.Op != Remove && s.follows(anew) {
			continue
		}
		s.repair = true
		if s.held = m.fights.differs(o, now); s.held && (m.heldUntil.IsZero() || m.fights[o].next.Before(m.heldUntil)) {
			m.heldUntil = m.fights[o].next
		}
	}
	holdWithDevice(steps)
}

// holdWithDevice holds what needs a device that is held: it would fail, and its
// network would wait.
func holdWithDevice(steps []planned) {
	gone := map[string]bool{}
	for _, s := range steps {
		if s.held && s.Kind == DeviceKind {
			gone[s.Device.Name] = true
		}
	}
	for i := range steps {
		if s := &steps[i]; s.Op != Remove && s.follows(gone) {
			s.held = true
		}
	}
}

// onlyDisputed is true where nothing is to be done but to put back what was put
// back thrice within a minute: there is no hurry to look what comes of it.
func (m *Manager) onlyDisputed(steps []planned) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range steps {
		if x := m.fights[s.object()]; !s.repair || x == nil || x.contested.IsZero() && len(x.puts) < 3 {
			return false
		}
	}
	return true
}

// follows is true for what a device lost that is made anew.
func (s Step) follows(anew map[string]bool) bool {
	switch {
	case s.Kind == DeviceKind:
		return false
	case s.Device != nil:
		return anew[s.Device.Name]
	case s.Route != nil:
		return anew[s.Route.Device]
	case s.Setting != nil:
		return anew[s.Setting.link()]
	}
	return false
}

// putBack notes and logs a repair that was written.
func (m *Manager) putBack(s Step) {
	m.mu.Lock()
	begun := m.fights.put(s, time.Now())
	x := m.fights[s.object()]
	contested, unnamed, times := !x.contested.IsZero(), x.culprit == "", x.times
	m.mu.Unlock()
	attrs := []any{"network", s.Network, "op", s.Op.Word(), "kind", string(s.Kind), "step", s.Text}
	if !contested || begun {
		m.Log.Info("changed by somebody else, put back", attrs...)
	}
	if !contested || !unnamed {
		return
	}
	culprit := ""
	if d, ok := m.Host.(Detective); ok {
		culprit = d.Culprit(s)
	}
	m.mu.Lock()
	x.culprit = culprit
	m.mu.Unlock()
	attrs = append(attrs, "culprit", culprit)
	if begun {
		m.Log.Warn("somebody else keeps changing this; it is put back ever more slowly", append(attrs, "times", times)...)
	} else if culprit != "" {
		m.Log.Warn("known who is likely to keep changing this", attrs...)
	}
}

// atPeace ends the fights that are over. The caller holds m.mu.
func (m *Manager) atPeace() {
	for _, x := range m.fights.ended(time.Now()) {
		m.Log.Info("nobody changes it any more", "network", x.last.Network, "kind", string(x.last.Kind), "step", x.last.Text,
			"times", x.times, "since", x.contested)
	}
}
