package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

const (
	defaultData  = "/var/lib/ginnel-collector"
	defaultPages = "127.0.0.1:8480"
)

const serveHelp = `
  --url URL               what gateways call, https://HOST[:PORT]; must be given
  --data DIR              store and authority (` + defaultData + `)
  --listen-gateways ADDR  for gateways, with mutual TLS (:443); or --gateways
  --listen-pages ADDR     for operators (` + defaultPages + `), or
                          unix:/PATH; or --pages
  --pages-fd N            take the pages' listener as file descriptor N;
                          LISTEN_FDS of a service manager does the same
  --name NAME             a further name or address of the gateways' listener;
                          may be repeated
  --operators             mutual TLS for operators, whose certificates
                          ginnel-collector operator add makes; without it, or
                          one of the following, pages are on loopback only
  --pages-cert FILE  --pages-key FILE
                          show this certificate to operators, not one of the
                          collector's own authority
  --operators-ca FILE     operators' certificates are of this authority, which
                          needs the two above
  --operator-header NAME  a proxy on this machine names the operator in this
                          header; pages stay on loopback or a Unix socket
  --audit-log FILE        append every act to FILE, a line of JSON each
  --syslog WHERE          send every act by RFC 5424 to local, udp://HOST:PORT
                          or tcp://HOST:PORT
  --heartbeat TIME        how often gateways call (30s); one that is silent for
                          three of them is unknown
  --log-level LEVEL       debug, info, warn or error (info)
  --config FILE           the same names in TOML; flags win`

// options of serve. The names in a file are those of the flags.
type options struct {
	URL         string        `toml:"url"`
	Data        string        `toml:"data"`
	Gateways    string        `toml:"listen-gateways"`
	Pages       string        `toml:"listen-pages"`
	PagesFD     int           `toml:"pages-fd"` // below 0: none
	Names       names         `toml:"name"`
	PagesCert   string        `toml:"pages-cert"`
	PagesKey    string        `toml:"pages-key"`
	OperatorsCA string        `toml:"operators-ca"`
	Operators   bool          `toml:"operators"`
	Header      string        `toml:"operator-header"`
	AuditLog    string        `toml:"audit-log"`
	Syslog      string        `toml:"syslog"`
	Heartbeat   time.Duration `toml:"-"`
	Every       string        `toml:"heartbeat"`
	Level       slog.Level    `toml:"log-level"`
}

// names is a flag that may be repeated.
type names []string

func (n *names) String() string     { return strings.Join(*n, ",") }
func (n *names) Set(s string) error { *n = append(*n, s); return nil }

func parseOptions(args []string) (options, error) {
	o := options{Data: defaultData, Gateways: ":443", Pages: defaultPages, PagesFD: -1, Every: "30s"}
	file := fileOf(args)
	if file != "" {
		if err := o.read(file); err != nil {
			return o, err
		}
	}
	fs := cli.Flags()
	fs.String("config", "", "") // was read by fileOf
	fs.StringVar(&o.URL, "url", o.URL, "")
	fs.StringVar(&o.Data, "data", o.Data, "")
	for _, name := range []string{"listen-gateways", "gateways"} {
		fs.StringVar(&o.Gateways, name, o.Gateways, "")
	}
	for _, name := range []string{"listen-pages", "pages"} {
		fs.StringVar(&o.Pages, name, o.Pages, "")
	}
	fs.IntVar(&o.PagesFD, "pages-fd", o.PagesFD, "")
	fs.Var(&o.Names, "name", "")
	fs.StringVar(&o.PagesCert, "pages-cert", o.PagesCert, "")
	fs.StringVar(&o.PagesKey, "pages-key", o.PagesKey, "")
	fs.StringVar(&o.OperatorsCA, "operators-ca", o.OperatorsCA, "")
	fs.BoolVar(&o.Operators, "operators", o.Operators, "")
	fs.StringVar(&o.Header, "operator-header", o.Header, "")
	fs.StringVar(&o.AuditLog, "audit-log", o.AuditLog, "")
	fs.StringVar(&o.Syslog, "syslog", o.Syslog, "")
	fs.StringVar(&o.Every, "heartbeat", o.Every, "")
	fs.TextVar(&o.Level, "log-level", o.Level, "")
	if _, err := cli.Parse(fs, args, 0, 0); err != nil {
		return o, err
	}
	return o, o.check()
}

// fileOf gives the value of --config, which must be read before the flags that
// win over it.
func fileOf(args []string) string {
	for i, a := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if name != "config" || !strings.HasPrefix(a, "-") {
			continue
		}
		if joined {
			return value
		}
		if i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

func (o *options) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	d := toml.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(o); err != nil {
		return fmt.Errorf("%s%w", file, place(err))
	}
	return nil
}

// place says where in a file a mistake is, without the line itself.
func place(err error) error {
	if e, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		row, column := e.Errors[0].Position()
		return fmt.Errorf(":%d:%d: %s: unknown key", row, column, strings.Join(e.Errors[0].Key(), "."))
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := e.Position()
		return fmt.Errorf(":%d:%d: %s: %w", row, column, strings.Join(e.Key(), "."), err)
	}
	return fmt.Errorf(": %w", err)
}

func (o *options) check() error {
	if o.URL == "" {
		return cli.Usagef("--url must be given: what gateways call, such as https://collector.example.net")
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") {
		return cli.Usagef("--url %q is not https://HOST[:PORT]", o.URL)
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if o.Heartbeat, err = time.ParseDuration(o.Every); err != nil || o.Heartbeat < time.Second || o.Heartbeat > time.Hour {
		return cli.Usagef("--heartbeat %q is not a time from 1s to 1h", o.Every)
	}
	return o.checkOperators()
}

// checkOperators says what of the ways to know operators does not go together.
func (o *options) checkOperators() error {
	certificate := o.PagesCert != "" && o.PagesKey != ""
	switch {
	case (o.PagesCert != "" || o.PagesKey != "") && !certificate, o.OperatorsCA != "" && !certificate, certificate && !o.operatorTLS():
		return cli.Usagef("--pages-cert and --pages-key go together, and with --operators or --operators-ca")
	case o.Operators && o.OperatorsCA != "":
		return cli.Usagef("--operators and --operators-ca are two authorities: give one")
	case o.Header != "" && o.operatorTLS():
		return cli.Usagef("--operator-header does not go with certificates of operators")
	case strings.ContainsFunc(o.Header, func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') }):
		return cli.Usagef("--operator-header %q is no name of a header", o.Header)
	}
	return nil
}

// operatorTLS says whether operators show certificates.
func (o *options) operatorTLS() bool { return o.Operators || o.OperatorsCA != "" }
