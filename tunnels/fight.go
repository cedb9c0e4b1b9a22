package tunnels

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// An object that somebody else changes is put back at once. One that has to be
// put back often within a minute, though nothing else is wanted, is contested:
// it is put back ever more slowly, alone, until there is peace.
const (
	often        = 8
	aMinute      = time.Minute
	firstPause   = time.Second
	longestPause = 30 * time.Second
	longestOpen  = 2 * time.Second // of a filter: networks are not apart meanwhile
	peace        = 2 * time.Minute
)

// object is one of ours, whatever its value.
type object struct {
	kind Kind
	what string
}

// object is what s writes.
func (s Step) object() object {
	switch s.Kind {
	case FilterKind:
		return object{s.Kind, s.Filter.Table}
	case RuleKind:
		return object{s.Kind, fmt.Sprintf("%s %d", ruleOrder(*s.Rule), s.Rule.Table)}
	case RouteKind:
		return object{s.Kind, s.Route.order()}
	case SettingKind:
		return object{s.Kind, s.Setting.Path}
	case AddressKind:
		return object{s.Kind, s.Device.Name + " " + s.Address}
	case PeerKind:
		return object{s.Kind, s.Device.Name + " " + s.Peer.PublicKey.String()}
	default:
		return object{s.Kind, s.Device.Name}
	}
}

// objects is what steps write, with all that is taken with them.
func objects(steps []planned) map[object]bool {
	set := make(map[object]bool, len(steps))
	for _, s := range steps {
		set[s.object()] = true
		for _, w := range slices.Concat(s.Before, s.After) {
			set[w.object()] = true
		}
	}
	return set
}

// fight is over an object that somebody else changes.
type fight struct {
	last      Step        // by which it was put back
	puts      []time.Time // when it was, within the last minute
	times     int         // in all
	seen      time.Time   // when it was last not as wanted
	next      time.Time   // not put back before
	pause     time.Duration
	contested time.Time // since when; zero: it is not
	culprit   string
}

type fights map[object]*fight

// differs notes that an object of ours was changed, and tells whether to leave
// it for now.
func (f fights) differs(o object, now time.Time) (leave bool) {
	if f[o] == nil {
		f[o] = &fight{}
	}
	f[o].seen = now
	return now.Before(f[o].next)
}

// put notes that an object was put back, and tells whether it is contested from
// now on.
func (f fights) put(s Step, now time.Time) (begun bool) {
	o := s.object()
	x := f[o]
	if x == nil {
		x = &fight{}
		f[o] = x
	}
	x.last, x.seen = s, now
	x.times++
	x.puts = append(slices.DeleteFunc(x.puts, func(t time.Time) bool { return now.Sub(t) > aMinute }), now)
	switch {
	case !x.contested.IsZero():
		x.pause = min(max(2*x.pause, firstPause), longest(s.Kind))
		x.next = now.Add(x.pause)
	case len(x.puts) >= often:
		x.contested, x.pause = x.puts[0], firstPause
		x.next = now.Add(x.pause)
		return true
	default:
		x.next = now.Add(gap)
	}
	return false
}

// longest is how long an object may be left as somebody else made it.
func longest(kind Kind) time.Duration {
	if kind == FilterKind {
		return longestOpen
	}
	return longestPause
}

// ended forgets what nobody has changed for a while, and returns what was
// contested.
func (f fights) ended(now time.Time) (over []*fight) {
	for o, x := range f {
		switch {
		case x.contested.IsZero() && now.Sub(x.seen) > aMinute:
			delete(f, o)
		case !x.contested.IsZero() && now.Sub(x.seen) >= peace:
			over = append(over, x)
			delete(f, o)
		}
	}
	return over
}

// retry puts no object off any longer.
func (f fights) retry() {
	for _, x := range f {
		x.next, x.pause = time.Time{}, 0
	}
}

// contests are those of a network, the oldest first.
func (f fights) contests(network string) (list []Contest) {
	for _, x := range f {
		if !x.contested.IsZero() && x.last.Network == network {
			list = append(list, Contest{Kind: x.last.Kind, Text: x.last.Text, Since: x.contested, Times: x.times, Culprit: x.culprit})
		}
	}
	slices.SortFunc(list, func(a, b Contest) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Text, b.Text)) })
	return list
}
