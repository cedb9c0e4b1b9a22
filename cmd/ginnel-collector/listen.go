package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// firstFD is where a service manager's listeners begin; see sd_listen_fds(3).
const firstFD = 3

// listeners are the two that a collector has.
type listeners struct{ pages, gateways net.Listener }

func (l listeners) close() {
	l.pages.Close()
	l.gateways.Close()
}

// listen opens both, before anything is written.
func listen(ctx context.Context, o options) (listeners, error) {
	pages, err := listenPages(ctx, o)
	if err != nil {
		return listeners{}, err
	}
	gateways, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Gateways)
	if err != nil {
		pages.Close()
		return listeners{}, listenError("gateways", "--listen-gateways", err)
	}
	return listeners{pages, gateways}, nil
}

// listenError says what to do about the two that happen.
func listenError(what, flag string, err error) error {
	wrapped := fmt.Errorf("listen for %s: %w", what, err)
	switch {
	case errors.Is(err, syscall.EACCES):
		return cli.WithHint(wrapped, "ports below 1024 are root's, or a service's; to try it out: "+flag+" 127.0.0.1:8443")
	case errors.Is(err, syscall.EADDRINUSE):
		return cli.WithHint(wrapped, "ss -ltnp says which program has it")
	}
	return wrapped
}

// listenPages opens the operators' listener, or takes it over, and refuses one
// that others than this machine could reach unless operators show certificates.
func listenPages(ctx context.Context, o options) (net.Listener, error) {
	var ln net.Listener
	fd, err := handedIn(o.PagesFD)
	switch {
	case err != nil:
	case fd >= 0:
		ln, err = fromFD(fd)
	default:
		ln, err = listenAt(ctx, o.Pages)
	}
	if err != nil {
		return nil, listenError("pages", "--listen-pages", err)
	}
	if o.operatorTLS() || isLocal(ln.Addr()) {
		return ln, nil
	}
	ln.Close()
	if o.Header != "" {
		return nil, cli.WithHint(fmt.Errorf("pages at %s refused: others than a proxy on this machine could name an operator", ln.Addr()),
			"--listen-pages 127.0.0.1:8480, or unix:/PATH")
	}
	return nil, cli.WithHint(fmt.Errorf("pages at %s refused: others than this machine could reach them without a certificate", ln.Addr()),
		"--listen-pages 127.0.0.1:8480, or --operators")
}

// isLocal says whether only this machine can reach a listener.
func isLocal(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}

// listenAt listens at HOST:PORT or unix:/PATH. A socket that a collector left
// behind is taken away; one that answers is not.
func listenAt(ctx context.Context, at string) (net.Listener, error) {
	path, unixSocket := strings.CutPrefix(at, "unix:")
	if !unixSocket {
		return new(net.ListenConfig).Listen(ctx, "tcp", at)
	}
	if c, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: somebody answers there already", path)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(path)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// The group is for the proxy.
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// handedIn gives the file descriptor of a listener that was handed in, or -1.
func handedIn(flag int) (int, error) {
	if flag >= 0 {
		return flag, nil
	}
	n, pid := os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID")
	if n == "" || (pid != "" && pid != strconv.Itoa(os.Getpid())) {
		return -1, nil
	}
	if n != "1" {
		return -1, fmt.Errorf("LISTEN_FDS is %q, and only one listener can be handed in, the pages'", n)
	}
	return firstFD, nil
}

func fromFD(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "pages")
	if f == nil {
		return nil, fmt.Errorf("%d is no file descriptor", fd)
	}
	defer f.Close() // FileListener makes its own
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("file descriptor %d is no listener: %w", fd, err)
	}
	return ln, nil
}

// pagesTLS is how operators show certificates; nil: they show none.
func pagesTLS(o options, gateways *control.Server) (*tls.Config, error) {
	if !o.operatorTLS() {
		return nil, nil
	}
	var own *tls.Certificate
	if o.PagesCert != "" {
		cert, err := tls.LoadX509KeyPair(o.PagesCert, o.PagesKey)
		if err != nil {
			return nil, fmt.Errorf("certificate of the pages: %w", err)
		}
		own = &cert
	}
	if o.Operators {
		return gateways.OperatorsTLS(own), nil
	}
	pem, err := os.ReadFile(o.OperatorsCA)
	if err != nil {
		return nil, fmt.Errorf("operators' authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("operators' authority: %s has no certificate in PEM", o.OperatorsCA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*own}, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, nil
}
