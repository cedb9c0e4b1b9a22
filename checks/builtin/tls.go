package builtin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// TLS is the kind that makes a TLS handshake and looks at the certificate. Its
// RTT is that of the handshake, without the TCP connection. A server that wants
// a certificate of ours has been reached.
func TLS() checks.Kind {
	return checks.Kind{
		Name:   "tls",
		Doc:    "makes a TLS handshake with host:port and looks at the certificate; sends no request",
		Schema: tlsSchema(),
		New: func(t checks.Target) (checks.Check, error) {
			p, err := reach.ParsePlace(t.Address, 0)
			if err != nil {
				return nil, err
			}
			trust, err := reach.TrustOf(t, p.Host)
			if err != nil {
				return nil, err
			}
			warn := time.Duration(t.IntOption("expiry_days")) * 24 * time.Hour
			return &tlsCheck{target: t, place: p, trust: trust, warn: warn}, nil
		},
	}
}

type tlsCheck struct {
	target checks.Target
	place  reach.Place
	trust  reach.Trust
	warn   time.Duration
}

func (c *tlsCheck) Run(ctx context.Context) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: time.Now(), Sent: 1, Stamps: checks.UserStamps}
	conn, err := reach.Dial(ctx, c.target, "tcp", c.place)
	if err != nil {
		return reach.Asked(r, reach.FaultOf(ctx, checks.PhaseConnect, "connecting to "+c.place.String(), err))
	}
	defer conn.Close()
	r.Path, r.Steps = conn.Link(), []checks.Step{conn.Step(c.place.Host), conn.Connect()}
	var seen hello
	begin := time.Now()
	secure := tls.Client(conn, c.config(&seen))
	err = secure.HandshakeContext(ctx)
	rtt := time.Since(begin)
	r.Steps = append(r.Steps, handshakeSteps(secure.ConnectionState(), rtt, seen)...)
	if err != nil && !(seen.wanted && hangsUp(err)) {
		f := reach.FaultOf(ctx, checks.PhaseTLS, "TLS with "+c.place.String(), tlsError(err))
		r.Steps[2].Detail = f.Detail
		return conn.Told(reach.Asked(r, f))
	}
	r.Received, r.RTT = 1, []time.Duration{rtt}
	if seen.wanted {
		r.Detail = "it wants a client certificate, as it should; "
	}
	c.judge(&r, seen.chain)
	return conn.Told(r)
}

// handshakeSteps tells of a handshake, and of each certificate that it showed.
func handshakeSteps(s tls.ConnectionState, took time.Duration, seen hello) []checks.Step {
	steps := []checks.Step{{Phase: checks.PhaseTLS, Name: "tls", Took: took}}
	if s.HandshakeComplete {
		steps[0].Detail = tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
	}
	for i, c := range seen.chain {
		steps = append(steps, checks.Step{Phase: checks.PhaseTLS, Name: fmt.Sprintf("certificate %d", i+1),
			Detail: fmt.Sprintf("%s, by %s, until %s", certName(c), issuerName(c), c.NotAfter.UTC().Format("2006-01-02"))})
	}
	return steps
}

func issuerName(c *x509.Certificate) string {
	if len(c.Issuer.Organization) > 0 && c.Issuer.CommonName != "" {
		return c.Issuer.CommonName + " (" + c.Issuer.Organization[0] + ")"
	}
	return c.Issuer.CommonName + strings.Join(c.Issuer.Organization, ", ")
}

func tlsSchema() checks.Schema {
	s := reach.TrustOptions()
	s["expiry_days"] = checks.Option{Type: "int", Doc: "degraded when a certificate of the chain ends within so many days; 0: never", Default: 14, Min: new(0.0), Max: new(3650.0)}
	s["issuer"] = checks.Option{Type: "string", Doc: "what the name of the certificate's issuer must contain; not given: anything"}
	return s
}

// hello is what the server said in its part of the handshake.
type hello struct {
	chain  []*x509.Certificate
	wanted bool // a certificate of ours
}

// config verifies by itself, so that the chain is known whatever comes after.
func (c *tlsCheck) config(seen *hello) *tls.Config {
	return &tls.Config{
		ServerName:         c.trust.Name,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			seen.chain = s.PeerCertificates
			return c.trust.Believe(s.PeerCertificates)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			seen.wanted = true
			return &tls.Certificate{}, nil
		},
	}
}

// judge looks for the certificate of the chain that ends first.
func (c *tlsCheck) judge(r *checks.Result, chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	first := firstToEnd(chain)
	left := first.NotAfter.Sub(r.Start)
	r.Values = append(r.Values, certificateLeft(first, r.Start))
	ends := fmt.Sprintf("%s until %s", certName(first), first.NotAfter.UTC().Format("2006-01-02"))
	poor := func(format string, args ...any) {
		r.Verdict, r.Reason, r.Phase = checks.Degraded, checks.Certificate, checks.PhaseAssert
		r.Detail += ends + fmt.Sprintf(format, args...)
	}
	issuer := c.target.StringOption("issuer")
	switch by := reach.Inspector(chain); {
	case !strings.Contains(issuerName(chain[0]), issuer):
		poor(", issued by %s, not by %s: something between may open the connection", issuerName(chain[0]), issuer)
	case by != "" && issuer == "":
		poor(": a proxy that opens TLS (%s) stands between", by)
	case left < 0 && c.warn > 0:
		poor(", which has passed")
	case left < c.warn:
		poor(", in %d days", int(left.Hours()/24))
	default:
		r.Detail += ends
	}
}

// firstToEnd is the certificate of a chain that ends first.
func firstToEnd(chain []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

func certificateLeft(c *x509.Certificate, now time.Time) checks.Value {
	return checks.Value{Name: "certificate_left", Number: c.NotAfter.Sub(now).Seconds(), Unit: "s"}
}

func certName(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return "certificate"
}

// hangsUp says whether the other side ended the handshake, by an alert, for which Go
// has no exported type, or by closing the connection.
func hangsUp(err error) bool {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// tlsError puts what Go's TLS says into words of ours where it is long.
func tlsError(err error) error {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return reach.Fail(checks.Protocol, checks.PhaseTLS, "the other side does not speak TLS")
	}
	return err
}
