package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// caller is who made a request. Its zero value showed no certificate.
type caller struct {
	gateway, uid string
	expired      bool   // may renew, and nothing else
	key          []byte // of the certificate, PKIX
}

// who reads the caller from the client certificate. The chain is verified here
// once more, so that a listener with other TLS settings opens no door.
func (s *Server) who(r *http.Request) (caller, error) {
	if r.TLS == nil {
		return caller{}, &Refusal{http.StatusForbidden, "tls_required", "the request did not come over TLS", "use the gateways' listener"}
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return caller{}, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	if err := s.ca.verify(r.TLS.PeerCertificates); err != nil {
		return caller{}, &Refusal{http.StatusForbidden, "certificate_foreign", "the client certificate is not of this collector's CA", ""}
	}
	if _, _, ok := OperatorOf(leaf); ok || identity.URN(leaf.URIs, identity.GatewayURN) != leaf.Subject.CommonName {
		return caller{}, &Refusal{http.StatusForbidden, "certificate_other", "the client certificate is no gateway's", "operators use the pages' listener"}
	}
	c := caller{gateway: leaf.Subject.CommonName, uid: identity.InstanceOf(leaf), expired: s.o.Now().After(leaf.NotAfter)}
	var err error
	if c.key, err = x509.MarshalPKIXPublicKey(leaf.PublicKey); err != nil {
		return caller{}, err
	}
	if d := s.revoked(c.key); d != nil {
		return caller{}, deviceRevoked(d)
	}
	known, err := s.deviceKey(r.Context(), c.gateway)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return caller{}, &Refusal{http.StatusForbidden, "gateway_unknown", "this collector knows no gateway " + c.gateway, "enrol it anew: ginnelctl site add"}
	case err != nil:
		s.o.Log.ErrorContext(r.Context(), "cannot read a gateway", "gateway", c.gateway, "err", err)
		return caller{}, err
	case !bytes.Equal(known, c.key):
		return caller{}, &Refusal{http.StatusForbidden, "certificate_replaced", c.gateway + " was enrolled anew from another device; this one's certificate is void", ""}
	}
	return c, nil
}

func deviceRevoked(d *bundle.Denial) error {
	return &Refusal{http.StatusForbidden, "device_revoked", "this device of " + strings.Join(d.Gateways, ", ") + " was revoked: " + d.Why, ""}
}

// revoked is why the device with this key (PKIX) is shut out; nil: it is not.
func (s *Server) revoked(key []byte) *bundle.Denial {
	sum := sha256.Sum256(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steer.denied.Revoked(hex.EncodeToString(sum[:]))
}

// deviceKey is the public key that a gateway was enrolled with.
func (s *Server) deviceKey(ctx context.Context, gateway string) ([]byte, error) {
	s.mu.Lock()
	key, ok := s.keys[gateway]
	s.mu.Unlock()
	if ok {
		return key, nil
	}
	g, err := s.o.Store.Gateway(ctx, gateway)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.keys[gateway]; ok {
		return key, nil // another device has enrolled meanwhile
	}
	s.keys[gateway] = g.PublicKey
	return g.PublicKey, nil
}
