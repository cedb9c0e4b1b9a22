package checks

import (
	"cmp"
	"time"
)

// StringOption returns an option of type "string"; empty where not given and
// without a default.
func (t Target) StringOption(name string) string { v, _ := t.Options[name].(string); return v }

// IntOption returns an option of type "int", or 0.
func (t Target) IntOption(name string) int { v, _ := t.Options[name].(int64); return int(v) }

// BoolOption returns an option of type "bool", or false.
func (t Target) BoolOption(name string) bool { v, _ := t.Options[name].(bool); return v }

// DurationOption returns an option of type "duration", or 0.
func (t Target) DurationOption(name string) time.Duration {
	v, _ := t.Options[name].(time.Duration)
	return v
}

// StringsOption returns an option of type "strings", or nil.
func (t Target) StringsOption(name string) []string { v, _ := t.Options[name].([]string); return v }

// withDefaults fills in what 0 stands for in a Spec, and ends a run before the
// next one starts.
func (s Spec) withDefaults() Spec {
	s.Interval = cmp.Or(s.Interval, 30*time.Second)
	s.Down = cmp.Or(s.Down, 3)
	s.Up = cmp.Or(s.Up, 2)
	s.Unstable = cmp.Or(s.Unstable, flapDefault)
	s.StandsFor = cmp.Or(s.StandsFor, s.Name)
	s.Target.Check = cmp.Or(s.Target.Check, s.Name)
	s.Target.Timeout = min(cmp.Or(s.Target.Timeout, 5*time.Second), s.Interval-s.Interval/10)
	return s
}
