package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// defaultCollector is where a collector's pages are unless told otherwise.
const defaultCollector = "http://127.0.0.1:8480"

const desksHelp = `
  --collector URL   of the collector's pages (GINNEL_COLLECTOR)
  --cert FILE       the operator's certificate, PEM (GINNEL_CERT)
  --key FILE        its key (GINNEL_KEY)
  --ca FILE         whose certificate the pages must show (GINNEL_CA)
From afar, without operator certificates: ssh -L 8480:127.0.0.1:8480 COLLECTOR`

// desk is how an operator reaches the collector.
type desk struct{ collector, cert, key, ca string }

// flags adds the desk's flags to fs. What the environment says is the default.
func (d *desk) flags(fs *flag.FlagSet) {
	fs.StringVar(&d.collector, "collector", cmp.Or(os.Getenv("GINNEL_COLLECTOR"), defaultCollector), "")
	fs.StringVar(&d.cert, "cert", os.Getenv("GINNEL_CERT"), "")
	fs.StringVar(&d.key, "key", os.Getenv("GINNEL_KEY"), "")
	fs.StringVar(&d.ca, "ca", os.Getenv("GINNEL_CA"), "")
}

// client makes the client of the collector's API.
func (d *desk) client() (*centre.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.cert != "" || d.key != "" {
		pair, err := d.pair()
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	if d.ca != "" {
		pem, err := os.ReadFile(d.ca)
		if err != nil {
			return nil, fmt.Errorf("pages' authority: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("pages' authority: %s has no certificate in PEM", d.ca)
		}
	}
	rt := http.DefaultTransport.(*http.Transport).Clone()
	rt.TLSClientConfig = conf
	c, err := centre.NewClient(d.collector, &http.Client{Transport: rt, Timeout: time.Minute})
	if err != nil {
		return nil, cli.WithHint(err, "--collector takes the address of the pages")
	}
	return c, nil
}

// advise adds a hint to what commonly goes wrong on the way to the collector.
func (d *desk) advise(err error) error {
	if err == nil {
		return nil
	}
	said, refused := errors.AsType[*centre.Error](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	alert, isAlert := errors.AsType[tls.AlertError](err)
	failed, onTheWay := errors.AsType[*url.Error](err)
	switch {
	case refused && said.Hint != "":
		return cli.WithHint(err, said.Hint)
	case refused && said.Status == http.StatusNotFound:
		return cli.WithHint(err, "ginnelctl sites lists the sites, ginnelctl rollout status the rollout")
	case errors.Is(err, syscall.ECONNREFUSED):
		return cli.WithHint(fmt.Errorf("nothing listens at %s", d.collector),
			"is the collector running? from afar: ssh -L 8480:127.0.0.1:8480 COLLECTOR, or --collector")
	case unknown:
		return cli.WithHint(fmt.Errorf("%s shows a certificate that is not known here", d.collector), "--ca FILE")
	case isAlert:
		return cli.WithHint(fmt.Errorf("%s wants an operator's certificate: %w", d.collector, alert), "--cert FILE --key FILE")
	case onTheWay:
		return cli.WithHint(fmt.Errorf("ask %s: %w", d.collector, failed.Err), "is this the address of the collector's pages?")
	}
	return err
}
