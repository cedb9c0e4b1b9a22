package why

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Request is what a firewall team needs to know to let a tunnel through.
type Request struct {
	Network  string       `json:"network"`
	Protocol string       `json:"protocol"` // "UDP"
	From     []netip.Addr `json:"from"`
	FromLink string       `json:"from_link,omitempty"`
	To       []Endpoint   `json:"to"`
	Seen     string       `json:"seen,omitempty"`
}

// Endpoint is one address and port to be let through to.
type Endpoint struct {
	Hub     string       `json:"hub"`
	Name    string       `json:"name,omitempty"` // in DNS
	Address []netip.Addr `json:"addresses"`
	Port    uint16       `json:"port"`
}

// request is about one tunnel.
func (f Facts) request(t Tunnel) *Request {
	q := &Request{Network: t.Network, Protocol: "UDP"}
	for _, l := range f.WAN.Links {
		if len(l.Addresses) > 0 {
			q.From, q.FromLink = append(q.From, l.Addresses...), l.Name
		}
	}
	for _, n := range t.Names {
		e := Endpoint{Hub: t.Hub, Address: n.Addresses, Port: cmp.Or(n.Port, t.Endpoint.Port())}
		if len(n.Addresses) != 1 || n.Addresses[0].String() != n.Name {
			e.Name = n.Name
		}
		q.To = append(q.To, e)
	}
	if len(q.To) == 0 && t.Endpoint.IsValid() {
		q.To = []Endpoint{{Hub: t.Hub, Address: []netip.Addr{t.Endpoint.Addr()}, Port: t.Endpoint.Port()}}
	}
	if t.Sent > 0 && t.State == "down" {
		q.Seen = t.sentSince()
	}
	return q
}

// RequestText is the Request in words that a firewall team takes.
func (r *Report) RequestText(loc *time.Location) string {
	q, b := r.Request, new(strings.Builder)
	line := func(head, text string) { entry(b, "  ", head, 12, text) }
	who := r.Gateway
	if r.Site != "" {
		who += ", " + r.Site
	}
	fmt.Fprintf(b, "Please let this through: %s, network %s\n\n", who, q.Network)
	line("protocol", "UDP, one conversation (WireGuard: encrypted, both ends known to each other)")
	from := "the gateway"
	if len(q.From) > 0 {
		from = addresses(q.From)
		if q.FromLink != "" {
			from += " (" + q.FromLink + ")"
		}
	}
	line("from", from+", any source port; if it is translated on the way, whatever it becomes")
	for _, e := range q.To {
		to := addresses(e.Address)
		if e.Name != "" {
			to = strings.TrimSpace(fmt.Sprintf("%s %s", e.Name, paren(to)))
		}
		line("to", fmt.Sprintf("%s, UDP port %d", to, e.Port))
	}
	line("direction", "opened from the site outwards; the answers come back to the same ports. Nothing has to be opened towards the site")
	line("timeout", "a packet goes every 25 s; the way back must stay open for at least 60 s")
	line("not", "no inspection or proxying of it: it is not DTLS, QUIC or a VPN that a proxy could open")
	line("why", fmt.Sprintf("it joins this site to the network %s; without it the services there cannot be used", q.Network))
	if q.Seen != "" {
		line("seen", q.Seen)
	}
	if r.NotTheLine != "" {
		line("beside", r.NotTheLine)
	}
	line("as of", r.At.In(loc).Format("2 Jan 2006 15:04 MST"))
	if r.Code != "" {
		line("code", string(r.Code))
	}
	return b.String()
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func addresses(list []netip.Addr) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}
