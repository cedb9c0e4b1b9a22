package evidence

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Headline says what happened, in one line.
func (b *Bundle) Headline() string {
	text := cmp.Or(b.Finding.Text, b.Change.Detail, string(b.Change.Reason))
	line := fmt.Sprintf("%s went from %s to %s", cmp.Or(b.Subject.StandsFor, b.Subject.Name), b.Change.From, b.Change.To)
	if text != "" {
		line += ": " + text
	}
	return Line(line)
}

// Tally counts packets, before the change or from it on.
func (b *Bundle) Tally(before bool) (answered, all int, median time.Duration) {
	var times []time.Duration
	for _, p := range b.Packets {
		if p.At < 0 != before || p.Ours() {
			continue
		}
		all++
		if p.Answered() {
			answered++
			if p.RTT > 0 {
				times = append(times, time.Duration(p.RTT*float64(time.Second)))
			}
		}
	}
	return answered, all, Median(times)
}

// tally is one half in words.
func (b *Bundle) tally(before bool) string {
	answered, all, median := b.Tally(before)
	if all == 0 {
		return "nothing was asked"
	}
	text := fmt.Sprintf("%d of %d answered", answered, all)
	if wrong := b.wrong(before); wrong > 0 {
		text = fmt.Sprintf("%d of %d answered as they should, %d refused or wrong", answered, all, wrong)
	}
	if median > 0 {
		text += fmt.Sprintf(", half of them within %s", Millis(median.Seconds()))
	}
	return text
}

// wrong counts the answers of one half that were refusals, or not the wanted ones.
func (b *Bundle) wrong(before bool) (n int) {
	for _, p := range b.Packets {
		if p.At < 0 == before && (p.Fate == Wrong || p.Fate == string(checks.Denied)) {
			n++
		}
	}
	return n
}

// Before and After are the packets of each half in words.
func (b *Bundle) Before() string { return b.tally(true) }

// After is Before for the time from the change on.
func (b *Bundle) After() string { return b.tally(false) }

// Millis is a time in seconds as people read it.
func Millis(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g ms", seconds*1e3)
}

// Points are what followed, each with a name, for people: the way, the sizes, the
// names. What was not looked at is not among them. Times are in zone.
func (b *Bundle) Points(zone *time.Location) (list []Point) {
	add := func(name string, l *Look) {
		if l == nil {
			return
		}
		p := Point{Name: name, Text: l.sum(zone)}
		for _, s := range l.Steps {
			line := s.Name + ": " + cmp.Or(s.Detail, "done")
			if s.Took > 0 {
				line += ", " + Millis(s.Took)
			}
			p.Lines = append(p.Lines, line)
		}
		list = append(list, p)
	}
	add("Last good run", b.LastGood)
	add("Last run", b.Last)
	add("Path", b.Path)
	add("Packet size", b.MTU)
	if b.DNS != nil {
		list = append(list, b.DNS.point())
	}
	if len(b.Tunnels) > 0 {
		p := Point{Name: "Tunnel", Text: "as it stood at the change"}
		for _, t := range b.Tunnels {
			p.Lines = append(p.Lines, t.line())
		}
		list = append(list, p)
	}
	if len(b.Links) > 0 {
		p := Point{Name: "Interfaces", Text: "what passed from the change until the last look"}
		for _, l := range b.Links {
			p.Lines = append(p.Lines, l.line())
		}
		list = append(list, p)
	}
	return list
}

// Point is one thing that was looked at.
type Point struct {
	Name, Text string
	Lines      []string
}

func (l *Look) sum(zone *time.Location) string {
	text := fmt.Sprintf("%s to %s at %s: %s", l.Kind, l.Target, l.At.In(zone).Format("15:04:05 MST"), l.Verdict)
	if l.RTT > 0 {
		text += ", " + Millis(l.RTT)
	}
	if l.Detail != "" {
		text += "; " + l.Detail
	}
	return text
}

func (d *DNS) point() Point {
	p := Point{Name: "Names", Text: "what each resolver says of " + d.Name}
	if d.Name == "" {
		p.Text = "the target is an address: no name is asked for"
	}
	for _, a := range d.Answers {
		text := a.Error
		if text == "" {
			text = strings.Join(a.Addresses, ", ") + ", " + Millis(a.Took)
		}
		p.Lines = append(p.Lines, a.Resolver+": "+text)
	}
	return p
}

func (t Tunnel) line() string {
	name := t.Network
	if t.Hub != "" {
		name += " to " + t.Hub
	}
	shake := "no handshake yet"
	if t.HandshakeAge != nil {
		shake = fmt.Sprintf("last handshake %.0f s before", *t.HandshakeAge)
	}
	return fmt.Sprintf("%s (%s) is %s, endpoint %s, %s, %d bytes sent, %d received",
		name, t.Device, cmp.Or(t.State, checks.UnknownState), cmp.Or(t.Endpoint, "not known"), shake, t.Sent, t.Received)
}

func (l Link) line() string {
	d := l.Later.since(l.Then)
	line := fmt.Sprintf("%s: %d packets in, %d out", l.Name, d.RxPackets, d.TxPackets)
	if bad := d.RxErrors + d.TxErrors; bad > 0 {
		line += fmt.Sprintf(", %d with errors", bad)
	}
	if lost := d.RxDropped + d.TxDropped; lost > 0 {
		line += fmt.Sprintf(", %d dropped", lost)
	}
	return line
}

// since is the difference; of a link that was made anew, all.
func (c Counters) since(then Counters) Counters {
	less := func(now, then uint64) uint64 {
		if now < then {
			return now
		}
		return now - then
	}
	return Counters{less(c.RxBytes, then.RxBytes), less(c.RxPackets, then.RxPackets), less(c.RxErrors, then.RxErrors), less(c.RxDropped, then.RxDropped),
		less(c.TxBytes, then.TxBytes), less(c.TxPackets, then.TxPackets), less(c.TxErrors, then.TxErrors), less(c.TxDropped, then.TxDropped)}
}

// Course is the packets as one line of text, oldest first, cut at the change:
// "." answered, "x" lost, "!" refused or wrong, "~" late, "?" not sent by our fault.
func (b *Bundle) Course() string {
	var w strings.Builder
	cut := false
	for _, p := range b.Packets {
		if p.At >= 0 && !cut {
			cut = true
			w.WriteByte('|')
		}
		w.WriteByte(sign(p.Fate))
	}
	return w.String()
}

func sign(fate string) byte {
	switch fate {
	case string(checks.Answered):
		return '.'
	case string(checks.Lost):
		return 'x'
	case string(checks.Late):
		return '~'
	case string(checks.Unsent):
		return '?'
	}
	return '!'
}
