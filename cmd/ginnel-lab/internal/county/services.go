package county

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
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
type serviceSet struct {
	places      map[string]netip.Addr // that have a name of their own
	certificate tls.Certificate       // of all, by themselves
	open        []io.Closer
}

func (s *serviceSet) close() {
	for _, c := range s.open {
		_ = c.Close()
	}
}

// start opens port 443 (accepts and waits), 25 (greets), 80 (a page, and a FHIR
// server at /r4), 53 (names of places are theirs, with anything in front; others
// below example.net are the host itself), 123 (the time), 8443 (TLS) and 11112
// (DICOM) at a host.
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
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s is here\n", n.Name) })
	pages.HandleFunc("/r4/metadata", answerFHIR)
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: pages}
	go func() { _ = web.Serve(page) }()

	imaging, err := s.listen(n, at, 11112)
	if err != nil {
		return err
	}
	go answerDICOM(imaging)

	secure, err := s.listen(n, at, 8443)
	if err != nil {
		return err
	}
	go greetAndWait(tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{s.certificate}}), "")

	clock, err := n.ListenPacket("udp", netip.AddrPortFrom(at, 123).String())
	if err != nil {
		return fmt.Errorf("service at %s: %w", n.Name, err)
	}
	s.open = append(s.open, clock)
	go answerNTP(clock)

	names, err := s.listen(n, at, 53)
	if err != nil {
		return err
	}
	packets, err := n.ListenPacket("udp", netip.AddrPortFrom(at, 53).String())
	if err != nil {
		return fmt.Errorf("service at %s: %w", n.Name, err)
	}
	s.open = append(s.open, packets)
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.answer(w, q, at) })
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

func (s *serviceSet) answer(w dns.ResponseWriter, q *dns.Msg, at netip.Addr) {
	m := new(dns.Msg).SetReply(q)
	for _, question := range q.Question {
		if !dns.IsSubDomain("example.net.", question.Name) {
			m.Rcode = dns.RcodeNameError
			continue
		}
		found := at
		for name, place := range s.places {
			if dns.IsSubDomain(dns.Fqdn(name), question.Name) {
				found = place
			}
		}
		head := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 60}
		switch {
		case question.Qtype == dns.TypeA && found.Is4():
			m.Answer = append(m.Answer, &dns.A{A: found.AsSlice(), Hdr: head})
		case question.Qtype == dns.TypeAAAA && found.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{AAAA: found.AsSlice(), Hdr: head})
		}
	}
	_ = w.WriteMsg(m)
}

// newCertificate is one for records.example.net, signed by itself.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "records.example.net"}, DNSNames: []string{"records.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
