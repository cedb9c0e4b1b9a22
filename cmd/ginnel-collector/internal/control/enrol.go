package control

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// enrol serves a caller without a certificate. It may do one thing: turn a
// token and a certificate request into a certificate.
func (s *Server) enrol(ctx context.Context, x *exchange, m *protobufs.AgentToServer) (*protobufs.ServerToAgent, error) {
	token := bearer(x.request)
	if token.IsZero() {
		return nil, &Refusal{http.StatusUnauthorized, "token_missing", "neither a client certificate nor a token came with the request", "ginnel enrol PACK"}
	}
	csr, uid, err := readCSR(m)
	if err != nil {
		return nil, err
	}
	pkix, err := x509.MarshalPKIXPublicKey(csr.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := s.forThis(ctx, token, m); err != nil {
		return nil, err
	}
	if d := s.revoked(pkix); d != nil {
		return nil, deviceRevoked(d)
	}
	gateway, err := s.redeem(ctx, token, uid, pkix)
	if err != nil {
		return nil, err
	}
	return s.certify(ctx, x, gateway, "enrol", csr, uid)
}

// redeem spends a token and forgets who had the gateway's name before. One at a
// time, so that memory follows the store.
func (s *Server) redeem(ctx context.Context, token identity.Token, uid string, key []byte) (gateway string, err error) {
	s.enrolling.Lock()
	defer s.enrolling.Unlock()
	g, err := s.o.Store.RedeemToken(ctx, token.Hash(), uid, key, s.o.Now())
	if err != nil {
		return "", tokenRefusal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[g.Name] = key
	delete(s.agents, g.Name)
	delete(s.steer.past, g.Name)
	return g.Name, nil
}

// forThis refuses a token that is of another gateway's pack than the message,
// which then is not spent. Without a name in the message the token decides.
func (s *Server) forThis(ctx context.Context, token identity.Token, m *protobufs.AgentToServer) error {
	is, err := s.o.Store.TokenGateway(ctx, token.Hash())
	if err != nil {
		return tokenRefusal(err)
	}
	for _, kv := range m.GetAgentDescription().GetNonIdentifyingAttributes() {
		if name := kv.GetValue().GetStringValue(); kv.GetKey() == "ginnel.gateway" && name != is {
			return &Refusal{http.StatusUnauthorized, "token_other", "the token is not for " + name, "somebody changed the site pack: ask central ops for a new one"}
		}
	}
	return nil
}

func tokenRefusal(err error) error {
	again := "ask central ops for a new site pack: ginnelctl site add"
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &Refusal{http.StatusUnauthorized, "token_unknown", "this collector does not know the token", "is the site pack of this collector, and the newest for the site?"}
	case errors.Is(err, store.ErrUsed):
		return &Refusal{http.StatusUnauthorized, "token_used", "the token was used already, by another device", again}
	case errors.Is(err, store.ErrExpired):
		return &Refusal{http.StatusUnauthorized, "token_expired", "the token has expired", again}
	}
	return fmt.Errorf("redeem a token: %w", err)
}

// renewOnly serves a caller whose certificate has expired.
func (s *Server) renewOnly(ctx context.Context, x *exchange, m *protobufs.AgentToServer) (*protobufs.ServerToAgent, error) {
	if m.GetConnectionSettingsRequest().GetOpamp().GetCertificateRequest() == nil {
		return nil, expired
	}
	return s.renew(ctx, x, m)
}

// renew gives a known device a new certificate for the same key.
func (s *Server) renew(ctx context.Context, x *exchange, m *protobufs.AgentToServer) (*protobufs.ServerToAgent, error) {
	csr, uid, err := readCSR(m)
	if err != nil {
		return nil, err
	}
	pkix, err := x509.MarshalPKIXPublicKey(csr.PublicKey)
	if err != nil {
		return nil, err
	}
	if uid != x.caller.uid || string(pkix) != string(x.caller.key) {
		return nil, &Refusal{http.StatusForbidden, "csr_other", "the certificate request is for another device than the one that sent it", ""}
	}
	return s.certify(ctx, x, x.caller.gateway, "renew", csr, uid)
}

// certify signs and offers, in the words of the CSR flow of the OpAMP
// specification.
func (s *Server) certify(ctx context.Context, x *exchange, gateway, act string, csr *x509.CertificateRequest, uid string) (*protobufs.ServerToAgent, error) {
	text, leaf, err := s.ca.device(gateway, uid, csr.PublicKey.(*ecdsa.PublicKey))
	if err != nil {
		return nil, err
	}
	s.o.Log.InfoContext(ctx, "gave a certificate", "act", act, "gateway", gateway, "uid", uid, "until", leaf.NotAfter, "from", x.request.RemoteAddr)
	s.audit(ctx, store.Event{Actor: gateway, From: x.request.RemoteAddr, Act: act, Object: gateway,
		Detail: fmt.Sprintf("instance %s, serial %x, until %s", uid, leaf.SerialNumber, leaf.NotAfter.UTC().Format("2006-01-02"))})
	s.mu.Lock()
	seconds := s.pace(gateway)
	s.mu.Unlock()
	return &protobufs.ServerToAgent{ConnectionSettings: s.offer(&protobufs.TLSCertificate{Cert: text, CaCert: s.ca.pem}, seconds)}, nil
}

// offer is the one kind of offer that is ever made: how often to call, and a
// certificate where there is one.
func (s *Server) offer(c *protobufs.TLSCertificate, seconds uint64) *protobufs.ConnectionSettingsOffers {
	hash := sha256.Sum256(fmt.Appendf(c.GetCert(), "heartbeat %d", seconds))
	return &protobufs.ConnectionSettingsOffers{
		Hash:  hash[:],
		Opamp: &protobufs.OpAMPConnectionSettings{HeartbeatIntervalSeconds: seconds, Certificate: c},
	}
}

// readCSR reads the certificate request of a message. It must prove its key,
// and be for the instance that the message is from.
func readCSR(m *protobufs.AgentToServer) (*x509.CertificateRequest, string, error) {
	bad := func(reason string) error { return &Refusal{http.StatusBadRequest, "csr_bad", reason, ""} }
	block, _ := pem.Decode(m.GetConnectionSettingsRequest().GetOpamp().GetCertificateRequest().GetCsr())
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, "", bad("the message has no certificate request in PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, "", bad("the certificate request cannot be read")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, "", bad("the certificate request does not prove its key")
	}
	if key, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, "", bad("the certificate request is not for an ECDSA P-256 key")
	}
	uid, err := uuid.FromBytes(m.GetInstanceUid())
	if err != nil || uid == uuid.Nil {
		return nil, "", bad("the message has no instance uid")
	}
	if got := identity.URN(csr.URIs, identity.InstanceURN); got != uid.String() {
		return nil, "", bad("the certificate request is for another instance than the message")
	}
	return csr, uid.String(), nil
}

// logRefusal logs and audits, within the limit that strangers have.
func (s *Server) logRefusal(ctx context.Context, x *exchange) {
	if _, ok := errors.AsType[*Refusal](x.refusal); !ok {
		s.o.Log.ErrorContext(ctx, "cannot answer a gateway", "gateway", x.caller.gateway, "from", x.request.RemoteAddr, "err", x.refusal)
		return
	}
	ok, dropped := s.refuse.allow(s.o.Now())
	if !ok {
		return
	}
	act, actor := "enrol refused", "-"
	if x.caller.gateway != "" {
		act, actor = "refused", x.caller.gateway
	}
	s.o.Log.WarnContext(ctx, "a caller was refused", "act", act, "gateway", actor, "from", x.request.RemoteAddr, "not_logged", dropped, "err", x.refusal)
	s.audit(ctx, store.Event{Actor: actor, From: x.request.RemoteAddr, Act: act, Object: cmp.Or(x.caller.gateway, host(x.request.RemoteAddr)), Detail: x.refusal.Error()})
}

// audit records an act. What cannot be recorded is at least in the log.
func (s *Server) audit(ctx context.Context, e store.Event) {
	e.At, e.From = s.o.Now(), host(e.From)
	if err := s.o.Store.Audit(ctx, e); err != nil {
		s.o.Log.ErrorContext(ctx, "cannot write the audit log", "act", e.Act, "object", e.Object, "err", err)
	}
}

// host is an address without its port.
func host(remote string) string {
	if h, _, err := net.SplitHostPort(remote); err == nil {
		return h
	}
	return remote
}
