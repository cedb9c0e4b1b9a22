// Package access says which operator asks for a page or of the API, and what
// one of a single organisation may see and change.
package access

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// Local is the operator of a request that came over the loopback, or a Unix
// socket, without a certificate: whoever may use this machine.
const Local = "operator on this machine"

// Operator is who asks.
type Operator struct {
	Name         string
	Organisation string // empty: all
	From         string // address, without its port
}

// Gate finds out who asks. Its zero value knows Local, and operators by the
// certificates that a foreign authority gave them.
type Gate struct {
	// Operators are those of our own authority. Nil: certificates are of
	// another, which then says who is still an operator.
	Operators store.Operators
	// Header, where not empty, names the operator instead of a certificate:
	// a proxy before us has asked for a password or a token. It is taken from
	// this machine only. Operators must be set.
	Header string
}

// Denied is a request of nobody that is known.
type Denied struct{ Reason, Advice string }

func (d *Denied) Error() string { return d.Reason }

// Hint is what to do next.
func (d *Denied) Hint() string { return d.Advice }

const askForAnother = "ask central ops for another: ginnel-collector operator add"

// Who says who asks; the error is *Denied, or trouble of the store.
func (g Gate) Who(r *http.Request) (Operator, error) {
	from := addressOf(r.RemoteAddr)
	switch {
	case g.Header != "":
		return g.byHeader(r, from)
	case r.TLS == nil || len(r.TLS.PeerCertificates) == 0:
		if !local(r.RemoteAddr) {
			return Operator{}, &Denied{"no certificate of an operator came with the request", askForAnother}
		}
		return Operator{Name: Local, From: from}, nil
	}
	leaf := r.TLS.PeerCertificates[0]
	name, organisation, ok := control.OperatorOf(leaf)
	if g.Operators == nil {
		return Operator{cmp.Or(name, leaf.Subject.CommonName), organisation, from}, nil
	}
	if !ok {
		return Operator{}, &Denied{"the certificate is no operator's", askForAnother}
	}
	known, err := g.known(r.Context(), name)
	if err != nil {
		return Operator{}, err
	}
	if known.Serial != control.SerialOf(leaf) || known.Organisation != organisation {
		return Operator{}, &Denied{"this certificate of " + name + " is void: there is a newer one", askForAnother}
	}
	return Operator{name, organisation, from}, nil
}

// byHeader believes a proxy on this machine.
func (g Gate) byHeader(r *http.Request, from string) (Operator, error) {
	if !local(r.RemoteAddr) {
		return Operator{}, &Denied{"the request did not come through the proxy on this machine", ""}
	}
	said := r.Header.Values(g.Header)
	if len(said) != 1 || said[0] == "" {
		return Operator{}, &Denied{"the proxy does not say who asks: it must set " + g.Header + " once", ""}
	}
	known, err := g.known(r.Context(), said[0])
	if err != nil {
		return Operator{}, err
	}
	// The proxy adds the address that it saw at the end.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if a, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
		from = a.String()
	}
	return Operator{known.Name, known.Organisation, from}, nil
}

func (g Gate) known(ctx context.Context, name string) (store.Operator, error) {
	o, err := g.Operators.Operator(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return o, &Denied{"operator " + name + " is not known here, or was removed", askForAnother}
	}
	return o, err
}

// local says whether a request came from this machine: over the loopback, or
// over a Unix socket, whose peers have no address.
func local(remote string) bool {
	if remote == "" || remote == "@" {
		return true
	}
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

func addressOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return strings.TrimPrefix(remote, "@")
}

// Scope is what an operator may see and change.
type Scope struct {
	Operator
	Of map[string]string // whose each network is
}

// All says whether that is everything.
func (s Scope) All() bool { return s.Organisation == "" }

// Network says whether a network is the operator's.
func (s Scope) Network(name string) bool { return s.All() || s.Of[name] == s.Organisation }

// Sees says whether a site or gateway in these networks is shown.
func (s Scope) Sees(networks []string) bool {
	return s.All() || slices.ContainsFunc(networks, s.Network)
}

// Owns says whether all of these networks are the operator's, so that the site
// or gateway in them may be changed as a whole. One in none is nobody's.
func (s Scope) Owns(networks []string) bool {
	return s.All() || len(networks) > 0 && !slices.ContainsFunc(networks, func(n string) bool { return !s.Network(n) })
}
