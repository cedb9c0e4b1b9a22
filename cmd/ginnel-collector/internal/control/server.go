// Package control is the collector's end of the control link: it enrols
// gateways with their one-time tokens, gives and renews their certificates from
// a CA of its own, and takes what they say of themselves over OpAMP.
//
// It also moves rollouts on: which gateway is offered which signed config when
// is decided by package rollout, and kept in the store.
//
// Only the plain HTTP transport of OpAMP is served. Nothing is offered but the
// certificate, the heartbeat interval and configs that operators signed: no
// packages, no commands.
package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"

	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// Path is where gateways post OpAMP messages.
const Path = "/v1/opamp"

// Store is what this package needs of the collector's store.
type Store interface {
	RedeemToken(ctx context.Context, hash [32]byte, uid string, publicKey []byte, now time.Time) (store.Gateway, error)
	TokenGateway(ctx context.Context, hash [32]byte) (string, error)
	Gateway(ctx context.Context, name string) (store.Gateway, error)
	SaveSnapshots(ctx context.Context, all []store.Heard) error
	Audit(ctx context.Context, e store.Event) error
	store.Proofs
	store.Rollouts
	Sites(ctx context.Context) ([]store.Site, error)
	Gateways(ctx context.Context) ([]store.Gateway, error)
	Heard(ctx context.Context) ([]store.Heard, error)
}

// Options are what New needs. Store, Dir and URL must be set.
type Options struct {
	Store     Store
	Dir       string           // of ca.key and ca.crt, made when missing
	URL       string           // what gateways call: https://HOST[:PORT]
	Names     []string         // further host names and addresses of the listener
	Heartbeat time.Duration    // how often gateways call; 0: 30 s
	Log       *slog.Logger     // nil: none
	Now       func() time.Time // nil: time.Now
}

// Server answers gateways. Its methods are safe for concurrent use.
type Server struct {
	o      Options
	ca     *authority
	attach http.HandlerFunc
	conn   server.ConnContext
	refuse limiter
	saver  saver
	limits *limits
	proved proved
	copies copies
	steer  steering

	started   time.Time  // when this one was made
	enrolling sync.Mutex // held by the one token that is spent

	mu     sync.Mutex          // guards the following
	agents map[string]*session // by gateway name
	keys   map[string][]byte   // by gateway name: the device key that counts, PKIX
}

// New opens the CA, or makes it on the first start.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 30 * time.Second
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("the gateways' URL %q is not https://HOST[:PORT]", o.URL)
	}
	ca, err := openAuthority(o.Dir, append([]string{u.Hostname()}, o.Names...), o.Now)
	if err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	s := &Server{o: o, ca: ca, started: o.Now(), limits: newLimits(), agents: map[string]*session{}, keys: map[string][]byte{}}
	s.saver.store, s.saver.log, s.saver.waiting = o.Store, o.Log, map[string]arrival{}
	if err := errors.Join(s.loadProofs(), s.loadBoots(), s.loadSteering(context.Background()), s.attachOpAMP()); err != nil {
		return nil, err
	}
	return s, nil
}

// attachOpAMP makes the library's handler; ours stands in front of it.
func (s *Server) attachOpAMP() error {
	answer := types.ConnectionResponse{
		Accept:              true,
		ConnectionCallbacks: types.ConnectionCallbacks{OnMessage: s.onMessage},
	}
	handler, conn, err := server.New(libraryLog{s.o.Log}).Attach(server.Settings{
		Callbacks:          types.Callbacks{OnConnecting: func(*http.Request) types.ConnectionResponse { return answer }},
		CustomCapabilities: []string{wire.Capability},
	})
	if err != nil {
		return fmt.Errorf("attach the OpAMP server: %w", err)
	}
	s.attach, s.conn = http.HandlerFunc(handler), conn
	return nil
}

// Handler serves Path, and nothing else.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, s.serve)
	return mux
}

// CA is the certificate that gateways and site packs trust, PEM.
func (s *Server) CA() []byte { return s.ca.pem }

// TLSConfig is for the gateways' listener. It asks for a client certificate
// and refuses one that is not of our CA; one that has expired passes the
// handshake, because it may still be renewed: see Gateway.
func (s *Server) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: s.ca.serverCertificate,
		ClientAuth:     tls.RequestClientCert,
		ClientCAs:      s.ca.pool,
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 {
				return nil // enrolment
			}
			return s.ca.verify(c.PeerCertificates)
		},
	}
}

// Gateway is the name of the gateway that made the request, by its certificate.
// The error is a *Refusal, to be answered with Refuse.
func (s *Server) Gateway(r *http.Request) (string, error) {
	c, err := s.who(r)
	switch {
	case err != nil:
		return "", err
	case c.gateway == "":
		return "", &Refusal{http.StatusUnauthorized, "certificate_required", "no client certificate came with the request", "ginnel enrol PACK"}
	case c.expired:
		return "", expired
	}
	return c.gateway, nil
}

// Close writes what is still to be written.
func (s *Server) Close() error {
	if err := s.saver.close(); err != nil {
		return errors.Join(errors.New("the newest snapshots were not all saved"), err)
	}
	return nil
}

// libraryLog is what the OpAMP library says; nothing of it concerns people.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Debugf(ctx context.Context, format string, v ...any) {}

func (l libraryLog) Errorf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "opamp library", "err", fmt.Sprintf(format, v...))
}
