package tunnels

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// StepJSON is a Step for programs. Its names stay.
type StepJSON struct {
	Network  string         `json:"network"` // empty: left over from a network that is no longer wanted
	Op       string         `json:"op"`      // "add", "change", "remove"
	Kind     Kind           `json:"kind"`
	Text     string         `json:"text"`
	Cuts     bool           `json:"cuts"`               // sessions or packets are lost by it
	Prefixes []netip.Prefix `json:"prefixes,omitempty"` // whose routes are taken with a peer
}

// StepsJSON is never nil, so that no steps are [] and not null.
func StepsJSON(steps []Step) []StepJSON {
	list := make([]StepJSON, 0, len(steps))
	for _, s := range steps {
		list = append(list, StepJSON{Network: s.Network, Op: s.Op.Word(), Kind: s.Kind, Text: s.Text, Cuts: s.Cuts, Prefixes: s.Prefixes()})
	}
	return list
}

// Word is "add", "change" or "remove".
func (o Op) Word() string {
	switch o {
	case Add:
		return "add"
	case Remove:
		return "remove"
	default:
		return "change"
	}
}

// FormatPlan is what `ginnel plan` prints: the steps by network, those of the
// spec first in its order, then what it would mean. Nothing was written yet.
func FormatPlan(names []string, steps []Step) string {
	text := FormatSteps(names, steps)
	if text != "" {
		text += "\n"
	}
	return text + meaning(steps)
}

// FormatSteps is the steps by network, those of names first and in that order.
func FormatSteps(names []string, steps []Step) string {
	groups := map[string][]Step{}
	for _, s := range steps {
		groups[s.Network] = append(groups[s.Network], s)
		if !slices.Contains(names, s.Network) {
			names = append(slices.Clone(names), s.Network)
		}
	}
	for n := range groups {
		groups[n] = bothFamilies(groups[n])
	}
	nameWidth, kindWidth := 0, len(FilterKind)
	for _, n := range names {
		nameWidth = max(nameWidth, len(title(n)))
	}
	for _, s := range steps {
		kindWidth = max(kindWidth, len(s.Kind))
	}
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%-*s  %s\n", nameWidth, title(n), count(len(groups[n])))
		for _, s := range groups[n] {
			fmt.Fprintf(&b, "  %c %-*s  %s\n", s.Op, kindWidth, s.Kind, s.Text)
		}
	}
	return b.String()
}

// FormatLacks is what a plan cannot bring about on this host, and what to do
// about it; empty where there is nothing of the kind.
func FormatLacks(list []Problem) string {
	var b strings.Builder
	for i, p := range list {
		if i == 0 {
			b.WriteString("Not to be had on this host:\n")
		}
		fmt.Fprintf(&b, "  %s\n", p)
		if p.Hint != "" {
			fmt.Fprintf(&b, "    hint: %s\n", p.Hint)
		}
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// bothFamilies makes one line of two rules that differ by their family only.
func bothFamilies(steps []Step) (lines []Step) {
	for _, s := range steps {
		if n := len(lines); n > 0 && s.Kind == RuleKind && lines[n-1].Kind == RuleKind && s.Op == lines[n-1].Op {
			four, six := *lines[n-1].Rule, *s.Rule
			if four.Family, six.Family = 0, 0; four == six {
				lines[n-1].Text = clip(lines[n-1].Text + " (IPv4, IPv6)")
				continue
			}
		}
		lines = append(lines, s)
	}
	return lines
}

func title(network string) string {
	if network == "" {
		return "leftover"
	}
	return network
}

func count(steps int) string {
	switch steps {
	case 0:
		return "no change"
	case 1:
		return "1 step"
	default:
		return fmt.Sprintf("%d steps", steps)
	}
}

// meaning is the end of a plan: which tunnels go down, what changes of devices,
// keys and addresses, and that nothing was done.
func meaning(steps []Step) string {
	if len(steps) == 0 {
		return "The host is as the config wants it. Nothing was written.\n"
	}
	return Effect(steps) + "Nothing of anyone else's on this host is touched. Nothing was written.\n"
}

// Effect says which tunnels go down, and what changes of devices, keys and
// addresses; whole lines.
func Effect(steps []Step) string {
	var b strings.Builder
	if down := GoingDown(steps); len(down) == 0 {
		b.WriteString("No tunnel goes down.")
	} else {
		b.WriteString(wrap("Goes down: "+strings.Join(down, ", ")+".") + "\n")
	}
	space(&b)
	if changed := changes(steps); changed == "" {
		b.WriteString("No device, key or address changes.\n")
	} else {
		b.WriteString(changed + ".\n")
	}
	return b.String()
}

func space(b *strings.Builder) {
	if s := b.String(); !strings.HasSuffix(s, "\n") {
		b.WriteByte(' ')
	}
}

// GoingDown lists the devices that lose a session, and for how long.
func GoingDown(steps []Step) []string {
	var down []string
	for _, s := range steps {
		if s.Device == nil || !s.Cuts {
			continue
		}
		text := ""
		switch {
		case s.Kind == DeviceKind:
			text = s.Device.Name
		case s.Kind == KeyKind || s.Kind == PortKind:
			text = s.Device.Name + " (until the next handshake)"
		case s.Kind == PeerKind && (s.Op == Remove || s.Fields.Make):
			text = cmp.Or(s.Peer.Name, short(s.Peer.PublicKey)) + " on " + s.Device.Name
		}
		if s.Fields.Make {
			text += " (until the next handshake)"
		}
		if text != "" && !slices.Contains(down, text) {
			down = append(down, text)
		}
	}
	return down
}

func changes(steps []Step) string {
	number := map[Kind]int{}
	for _, s := range steps {
		kind := s.Kind
		if s.Fields.Make {
			kind = KeyKind
		}
		number[kind]++
	}
	var words []string
	for _, k := range []struct {
		kind      Kind
		one, many string
	}{{DeviceKind, "device", "devices"}, {KeyKind, "key", "keys"}, {AddressKind, "address", "addresses"}} {
		if n := number[k.kind]; n == 1 {
			words = append(words, "1 "+k.one)
		} else if n > 1 {
			words = append(words, fmt.Sprintf("%d %s", n, k.many))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "Added, changed or removed: " + strings.Join(words, ", ")
}

// wrap breaks text at blanks so that no line is wider than 80 columns.
func wrap(text string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > 80 {
			lines = append(lines, line)
			line = "    " + word
			continue
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}
