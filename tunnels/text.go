package tunnels

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// textWidth keeps a printed step within 80 columns: two blanks, the sign, the
// kind and their gaps take 13.
const textWidth = 67

func clip(s string) string {
	if len(s) <= textWidth {
		return s
	}
	return s[:textWidth-3] + "..."
}

// short is enough of a public key to tell it from others.
func short(p key.Public) string {
	if p.IsZero() {
		return "none"
	}
	return p.String()[:8] + "..."
}

// pause is a keepalive interval in words.
func pause(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	return d.String()
}

// list names the first prefixes and counts the others.
func list(prefixes []netip.Prefix) string {
	const shown = 2
	sorted := slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)
	var words []string
	for _, p := range sorted[:min(shown, len(sorted))] {
		words = append(words, p.String())
	}
	if n := len(sorted) - shown; n > 0 {
		words = append(words, fmt.Sprintf("%d more", n))
	}
	return strings.Join(words, ", ")
}

// filterChange does not tell what was there before: of a table on the host no
// more than its digest is known.
func filterChange(f Filter) string {
	text := filterText(f)
	if openText(f) == "" && len(f.Maps) == 0 {
		text = strings.Replace(text, ": ", ": made anew, ", 1)
	}
	return clip(text)
}

func filterText(f Filter) string {
	if open := openText(f); open != "" {
		return f.Table + ": " + open
	}
	if len(f.Maps) > 0 {
		text := fmt.Sprintf("%s: %v known as %v", f.Table, f.Maps[0].LAN, f.Maps[0].As)
		if n := len(f.Maps) - 1; n > 0 {
			text += fmt.Sprintf("; %d more", n)
		}
		return clip(text)
	}
	if len(f.Ports) == 0 {
		return f.Table + ": keeps " + strings.Join(f.Devices, ", ") + " apart"
	}
	var ports []string
	for _, p := range f.Ports {
		ports = append(ports, fmt.Sprint(p))
	}
	where := "nowhere"
	if len(f.Uplinks) > 0 {
		where = strings.Join(f.Uplinks, ", ") + " only"
	}
	return fmt.Sprintf("%s: UDP %s on %s", f.Table, strings.Join(ports, ", "), where)
}

// openText names the first of the connections that are listed, and counts the
// others; empty: none is.
func openText(f Filter) string {
	var words []string
	add := func(openings []Opening, from, to string) {
		for _, o := range openings {
			words = append(words, strings.TrimSpace(fmt.Sprintf("%s -> %s %s",
				cmp.Or(list(o.From), from), cmp.Or(list(o.To), to), strings.Join(o.Ports, ", "))))
		}
	}
	add(f.In, AllSites, "lan")
	add(f.Out, "lan", AllSites)
	add(f.Across, AllSites, AllSites)
	add(f.Gateway, AllSites, "here")
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	more := fmt.Sprintf("; %d more", len(words)-1)
	first := words[0]
	if room := textWidth - len(f.Table) - len(": ") - len(more); len(first) > room {
		first = first[:max(room-3, 0)] + "..."
	}
	return first + more
}

func routeText(r Route) string {
	if r.Unreachable {
		return "unreachable " + r.Prefix.String() + " table " + strconv.Itoa(r.Table)
	}
	return r.Prefix.String() + " dev " + r.Device + " table " + strconv.Itoa(r.Table)
}

func routeChange(h, w Route) string {
	if h.Device == w.Device || h.Unreachable != w.Unreachable {
		return fmt.Sprintf("%s src %v", routeText(w), w.Source)
	}
	return fmt.Sprintf("%v dev %s -> %s table %d", w.Prefix, h.Device, w.Device, w.Table)
}

func ruleText(r Rule) string {
	var words []string
	if r.Iif != "" {
		words = append(words, "iif "+r.Iif)
	}
	if r.Oif != "" {
		words = append(words, "oif "+r.Oif)
	}
	if r.From.IsValid() {
		words = append(words, "from "+r.From.String())
	}
	text := fmt.Sprintf("%d: %s lookup %d", r.Priority, strings.Join(words, " "), r.Table)
	if r.Family == 6 && !r.From.IsValid() {
		text += " (IPv6)"
	}
	return text
}

func ruleOrder(r Rule) string {
	return fmt.Sprintf("%010d %d %s %s %v", r.Priority, r.Family, r.Iif, r.Oif, r.From)
}

func settingText(s Setting) string {
	return strings.ReplaceAll(s.Path, "/", ".") + " = " + s.Value
}

func deviceText(d Device) string {
	text := fmt.Sprintf("%s MTU %d", d.Name, d.MTU)
	if d.ListenPort != 0 {
		text += fmt.Sprintf(", UDP %d", d.ListenPort)
	}
	return text
}

func peerText(d Device, p Peer) string {
	text := fmt.Sprintf("%s %s on %s", p.Name, short(p.PublicKey), d.Name)
	if p.Endpoint.IsValid() {
		text += " endpoint " + p.Endpoint.String()
	}
	return text
}
