package control

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server/types"

	"github.com/ginnel/ginnel/agent/identity"
)

// maxMessage is the size in bytes of the largest message that is read,
// compressed and not. The library reads without a limit (v0.23.0), so the body
// is read here.
const maxMessage = 1 << 20

// exchange is one request and what became of it. It travels in the context
// through the library, whose callbacks can say no only with a message.
type exchange struct {
	caller  caller
	request *http.Request
	refusal error
}

type exchangeKey struct{}

// noConn is what the library is given for the connection, which nobody asks for.
type noConn struct{ net.Conn }

// serve stands in front of the library's handler: it knows the caller, limits
// the body, keeps WebSockets out, and turns a refusal into its HTTP status.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/x-protobuf" {
		Refuse(w, &Refusal{http.StatusUnsupportedMediaType, "not_opamp", "only OpAMP over plain HTTP is spoken here", ""})
		return
	}
	c, err := s.who(r)
	if err != nil {
		s.o.Log.InfoContext(r.Context(), "refused a gateway", "from", r.RemoteAddr, "err", err)
		Refuse(w, err)
		return
	}
	if c.gateway == "" && !s.mayTry(w, r) {
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		Refuse(w, err)
		return
	}
	x := &exchange{caller: c, request: r}
	ctx := s.conn(context.WithValue(r.Context(), exchangeKey{}, x), noConn{})
	clean := r.WithContext(ctx)
	clean.Header = r.Header.Clone()
	clean.Header.Del("Content-Encoding")
	clean.Body = io.NopCloser(bytes.NewReader(body))
	s.attach(&answer{ResponseWriter: w, exchange: x}, clean)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var in io.Reader = http.MaxBytesReader(w, r.Body, maxMessage)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, &Refusal{http.StatusBadRequest, "bad_message", "the message is not gzip, which its header says it is", ""}
		}
		in = z
	}
	body, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	_, over := errors.AsType[*http.MaxBytesError](err)
	switch {
	case over || len(body) > maxMessage:
		return nil, &Refusal{http.StatusRequestEntityTooLarge, "too_large", "the message is over 1 MiB", ""}
	case err != nil:
		return nil, &Refusal{http.StatusBadRequest, "bad_message", "the message was cut off", ""}
	}
	return body, nil
}

// answer lets the library answer unless the exchange was refused.
type answer struct {
	http.ResponseWriter
	*exchange
	done bool
}

func (a *answer) Write(b []byte) (int, error) {
	if a.refusal == nil {
		return a.ResponseWriter.Write(b)
	}
	if !a.done {
		a.done = true
		a.Header().Del("Content-Encoding")
		Refuse(a.ResponseWriter, a.refusal)
	}
	return len(b), nil
}

// onMessage is the library's callback for every message.
func (s *Server) onMessage(ctx context.Context, _ types.Connection, m *protobufs.AgentToServer) *protobufs.ServerToAgent {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil // not ours: the library was attached elsewhere
	}
	var reply *protobufs.ServerToAgent
	switch {
	case x.caller.gateway == "":
		reply, x.refusal = s.enrol(ctx, x, m)
	case x.caller.expired:
		reply, x.refusal = s.renewOnly(ctx, x, m)
	default:
		reply, x.refusal = s.hear(ctx, x, m)
	}
	if x.refusal != nil {
		if x.caller.gateway == "" {
			s.failedTry(x.request)
		}
		s.logRefusal(ctx, x)
		return nil
	}
	reply.Capabilities = uint64(protobufs.ServerCapabilities_ServerCapabilities_AcceptsStatus |
		protobufs.ServerCapabilities_ServerCapabilities_AcceptsEffectiveConfig |
		protobufs.ServerCapabilities_ServerCapabilities_OffersRemoteConfig |
		protobufs.ServerCapabilities_ServerCapabilities_OffersConnectionSettings |
		protobufs.ServerCapabilities_ServerCapabilities_AcceptsConnectionSettingsRequest)
	return reply
}

// bearer is the token in the Authorization header; zero: none that could be one.
func bearer(r *http.Request) identity.Token {
	text, ok := bytes.CutPrefix([]byte(r.Header.Get("Authorization")), []byte("Bearer "))
	if !ok {
		return identity.Token{}
	}
	t, err := identity.ParseToken(string(text))
	if err != nil {
		return identity.Token{}
	}
	return t
}
