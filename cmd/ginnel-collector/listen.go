package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"

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
		return listeners{}, fmt.Errorf("listen for gateways: %w", err)
	}
	return listeners{pages, gateways}, nil
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
		ln, err = new(net.ListenConfig).Listen(ctx, "tcp", o.Pages)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for pages: %w", err)
	}
	if o.operatorTLS() {
		conf, err := operatorConfig(o)
		if err != nil {
			ln.Close()
			return nil, err
		}
		return tls.NewListener(ln, conf), nil
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		ln.Close()
		return nil, cli.WithHint(fmt.Errorf("pages at %s refused: others than this machine could reach them without a certificate", ln.Addr()),
			"--listen-pages 127.0.0.1:8480, or give --pages-cert, --pages-key and --operators-ca")
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

// operatorConfig asks operators for certificates of their own authority.
func operatorConfig(o options) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(o.PagesCert, o.PagesKey)
	if err != nil {
		return nil, fmt.Errorf("certificate of the pages: %w", err)
	}
	pem, err := os.ReadFile(o.OperatorsCA)
	if err != nil {
		return nil, fmt.Errorf("operators' authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("operators' authority: %s has no certificate in PEM", o.OperatorsCA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, nil
}
