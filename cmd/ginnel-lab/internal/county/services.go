package county

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// serviceSet is the lab's own servers: on each service host and on the
// internet host something that answers TCP, HTTP and DNS. ICMP is the kernel's.
type serviceSet struct{ open []io.Closer }

func (s *serviceSet) close() {
	for _, c := range s.open {
		_ = c.Close()
	}
}

// start opens port 443 (accepts and waits), 25 (greets), 80 (a page) and 53
// (names below example.net are the host itself) at a host.
func (s *serviceSet) start(n *netns.Node, at netip.Addr) error {
	talk, err := s.listen(n, at, 443)
	if err != nil {
		return err
	}
	go greetAndWait(talk, "")

	greet, err := s.listen(n, at, 25)
	if err != nil {
		return err
	}
	go greetAndWait(greet, "220 "+n.Name+" is here\r\n")

	page, err := s.listen(n, at, 80)
	if err != nil {
		return err
	}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s is here\n", n.Name) })}
	go func() { _ = web.Serve(page) }()

	names, err := s.listen(n, at, 53)
	if err != nil {
		return err
	}
	packets, err := n.ListenPacket("udp", netip.AddrPortFrom(at, 53).String())
	if err != nil {
		return fmt.Errorf("service at %s: %w", n.Name, err)
	}
	s.open = append(s.open, packets)
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { answerName(w, q, at) })
	go func() { _ = (&dns.Server{Listener: names, Handler: answer}).ActivateAndServe() }()
	go func() { _ = (&dns.Server{PacketConn: packets, Handler: answer}).ActivateAndServe() }()
	return nil
}

// Greet has a node accept connections at ports, on all of its addresses.
func (c *County) Greet(n *netns.Node, ports ...uint16) error {
	for _, port := range ports {
		l, err := c.services.listen(n, netip.IPv6Unspecified(), port)
		if err != nil {
			return err
		}
		go greetAndWait(l, n.Name+" is here\r\n")
	}
	return nil
}

func (s *serviceSet) listen(n *netns.Node, at netip.Addr, port uint16) (net.Listener, error) {
	l, err := n.Listen("tcp", netip.AddrPortFrom(at, port).String())
	if err != nil {
		return nil, fmt.Errorf("service at %s: %w", n.Name, err)
	}
	s.open = append(s.open, l)
	return l, nil
}

// greetAndWait says a line to who connects, which may be empty, and keeps the
// connection until the other side closes it.
func greetAndWait(l net.Listener, line string) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, for a moment
			continue
		}
		go func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, line)
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

func answerName(w dns.ResponseWriter, q *dns.Msg, at netip.Addr) {
	m := new(dns.Msg).SetReply(q)
	for _, question := range q.Question {
		if !dns.IsSubDomain("example.net.", question.Name) {
			m.Rcode = dns.RcodeNameError
			continue
		}
		head := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 60}
		switch {
		case question.Qtype == dns.TypeA && at.Is4():
			m.Answer = append(m.Answer, &dns.A{A: at.AsSlice(), Hdr: head})
		case question.Qtype == dns.TypeAAAA && at.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{AAAA: at.AsSlice(), Hdr: head})
		}
	}
	_ = w.WriteMsg(m)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
