package access

import (
	"fmt"
	"reflect"

	"github.com/ginnel/ginnel/agent/config"
)

// MayReplace says what keeps the operator from having next take the place of
// now at a gateway; nil: nothing. Networks of other organisations, and their
// checks, must be the same in both. So must be, where there are such networks,
// all that they share: the checks beside the tunnels, who may sign, where the
// collector is. A nil now is a gateway that nothing was wanted of yet.
func (s Scope) MayReplace(now, next *config.Config) error {
	if s.All() {
		return nil
	}
	if now == nil {
		now = &config.Config{Gateway: next.Gateway}
	}
	shared := false
	old, wanted := networksOf(now), networksOf(next)
	for name := range union(old, wanted) {
		if s.Network(name) {
			continue
		}
		shared = true
		if !reflect.DeepEqual(old[name], wanted[name]) {
			return s.refuses(next, fmt.Sprintf("network %s", name))
		}
	}
	before, after := checksOf(now), checksOf(next)
	for name := range union(before, after) {
		a, b := before[name], after[name]
		if !reflect.DeepEqual(a, b) && (!s.mayCheck(a, shared) || !s.mayCheck(b, shared)) {
			return s.refuses(next, fmt.Sprintf("check %s", name))
		}
	}
	switch {
	case next.Gateway != now.Gateway:
		return s.refuses(next, "gateway")
	case !shared:
		return nil
	case !reflect.DeepEqual(now.Signers, next.Signers):
		return s.refuses(next, "signers")
	case !reflect.DeepEqual(now.Collector, next.Collector):
		return s.refuses(next, "collector")
	case now.Trial != next.Trial:
		return s.refuses(next, "trial")
	case !reflect.DeepEqual(now.Manners, next.Manners):
		return s.refuses(next, "manners")
	}
	return nil
}

// mayCheck says whether a check is the operator's to add or take away.
func (s Scope) mayCheck(c *config.Check, shared bool) bool {
	return c == nil || c.Network == "" && !shared || c.Network != "" && s.Network(c.Network)
}

func (s Scope) refuses(next *config.Config, what string) error {
	return fmt.Errorf("%s: %s would change, and is not of %s alone", next.Gateway, what, s.Organisation)
}

func networksOf(c *config.Config) map[string]*config.Network {
	all := map[string]*config.Network{}
	for i := range c.Networks {
		all[c.Networks[i].Name] = &c.Networks[i]
	}
	return all
}

func checksOf(c *config.Config) map[string]*config.Check {
	all := map[string]*config.Check{}
	for i := range c.Checks {
		all[c.Checks[i].Name] = &c.Checks[i]
	}
	return all
}

func union[T any](a, b map[string]T) map[string]bool {
	all := map[string]bool{}
	for _, m := range []map[string]T{a, b} {
		for name := range m {
			all[name] = true
		}
	}
	return all
}
