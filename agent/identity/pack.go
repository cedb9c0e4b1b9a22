package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/internal/durable"
)

// packVersion is the format that this program writes and reads.
const packVersion = 2

// maxPack is the size in bytes above which a file is no site pack.
const maxPack = 256 << 10

// Pack is a site pack: what a gateway needs to enrol, once. All of its values
// have been validated.
type Pack struct {
	Site      Site
	Collector []string // URLs, https, in order of preference; at least one
	CA        string   // PEM of the collector's CA
	Expires   time.Time
	Token     Token    // zero when spent
	Secret    Secret   // that proves the gateway's keys; zero when spent
	Signers   []string // whose configs the gateway takes, each a line as in id_ed25519.pub; empty: nobody's
}

// Site is where a gateway stands.
type Site struct {
	ID       string   // "avocet"
	Name     string   // "Avocet Surgery"
	Postcode string   // may be empty
	Gateway  string   // "avocet-1"
	Networks []string // that it is to join; may be empty
}

// packFile is a pack as its file says it.
type packFile struct {
	Version   int       `toml:"version"`
	Site      string    `toml:"site"`
	Name      string    `toml:"name"`
	Postcode  string    `toml:"postcode"`
	Gateway   string    `toml:"gateway"`
	Networks  []string  `toml:"networks"`
	Collector []string  `toml:"collector"`
	Expires   time.Time `toml:"expires"`
	Token     string    `toml:"token" comment:"one use; whoever holds it can enrol as this gateway"`
	Secret    string    `toml:"secret" comment:"one use; the gateway proves its keys with it, the collector never has it"`
	Signers   []string  `toml:"signers,multiline" comment:"the gateway takes configs that one of these signed"`
	CA        string    `toml:"ca,multiline" comment:"the collector must show a certificate of this CA"`
}

// ReadPack reads a site pack from a file. A spent pack is read too, with a
// zero Token and Secret; Usable tells.
func ReadPack(path string) (Pack, error) {
	f, err := os.Open(path)
	if err != nil {
		return Pack{}, fmt.Errorf("read the site pack: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > maxPack {
		return Pack{}, fault(fmt.Errorf("%s: %d bytes are too many for a site pack", path, st.Size()), packAdvice)
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(f); err != nil {
		return Pack{}, fmt.Errorf("read the site pack: %w", err)
	}
	return ParsePack(path, text.Bytes())
}

const packAdvice = "a site pack is the file that `ginnelctl site add` wrote; ask for it again"

// ParsePack reads a site pack from text; name is what errors call it. Errors
// give places and key paths, never the text, which may hold the secrets.
func ParsePack(name string, text []byte) (Pack, error) {
	var raw packFile
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&raw)
	if _, strict := errors.AsType[*toml.StrictMissingError](err); strict && raw.Version == 0 && raw.Token == "" {
		return Pack{}, fault(fmt.Errorf("%s: not a site pack", name), packAdvice)
	}
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		row, col := e.Position()
		return Pack{}, fault(fmt.Errorf("%s:%d:%d: %s: unknown key", name, row, col, strings.Join(e.Key(), ".")),
			"this pack may be for a newer ginnel; update it first")
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, col := bad.Position()
		where := strings.Join(bad.Key(), ".")
		if where == "" {
			where = "not a site pack"
		} else {
			where += ": wrong kind of value"
		}
		return Pack{}, fault(fmt.Errorf("%s:%d:%d: %s", name, row, col, where), packAdvice)
	}
	if err != nil {
		return Pack{}, fault(fmt.Errorf("%s: not a site pack", name), packAdvice)
	}
	p, err := raw.pack()
	if err != nil {
		return Pack{}, fault(fmt.Errorf("%s: %w", name, err), packAdvice)
	}
	return p, nil
}

func (raw packFile) pack() (Pack, error) {
	if raw.Version != packVersion {
		return Pack{}, fmt.Errorf("version: %d, this ginnel reads %d", raw.Version, packVersion)
	}
	p := Pack{
		Site:      Site{ID: raw.Site, Name: raw.Name, Postcode: raw.Postcode, Gateway: raw.Gateway, Networks: raw.Networks},
		Collector: raw.Collector, CA: raw.CA, Expires: raw.Expires.UTC(), Signers: raw.Signers,
	}
	var err error
	if raw.Token != "" {
		if p.Token, err = ParseToken(raw.Token); err != nil {
			return Pack{}, err
		}
	}
	if raw.Secret != "" {
		if p.Secret, err = ParseSecret(raw.Secret); err != nil {
			return Pack{}, err
		}
	}
	return p, p.Validate()
}

// Validate says all that is wrong with a pack; nil when it is good. It does
// not look at the clock or at whether the token is spent: see Usable.
func (p Pack) Validate() error {
	var errs []error
	errs = append(errs, p.Site.validate())
	if len(p.Collector) == 0 {
		errs = append(errs, errors.New("collector: no URL"))
	}
	for i, u := range p.Collector {
		if err := checkURL(u); err != nil {
			errs = append(errs, fmt.Errorf("collector[%d]: %w", i, err))
		}
	}
	if _, err := parseCertificates([]byte(p.CA)); err != nil {
		errs = append(errs, fmt.Errorf("ca: %w", err))
	}
	if p.Expires.IsZero() {
		errs = append(errs, errors.New("expires: it is missing"))
	}
	if p.Token.IsZero() != p.Secret.IsZero() {
		errs = append(errs, errors.New("token, secret: one is there without the other"))
	}
	errs = append(errs, checkSigners(p.Signers))
	return errors.Join(errs...)
}

// Usable says whether the pack may still enrol a gateway.
func (p Pack) Usable(now time.Time) error {
	if p.Token.IsZero() {
		return fault(ErrSpent, "ask central ops for a new one: ginnelctl site add "+p.Site.ID)
	}
	if now.After(p.Expires) {
		return fault(fmt.Errorf("%w (%s; this host's clock says %s)", ErrPackExpired,
			p.Expires.Format(time.DateTime), now.UTC().Format(time.DateTime)),
			"if the clock is right, ask central ops for a new one: ginnelctl site add "+p.Site.ID)
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidName says whether s can name a site, gateway or network.
func ValidName(s string) bool { return namePattern.MatchString(s) }

func (s Site) validate() error {
	var errs []error
	for _, f := range []struct{ key, value string }{{"site", s.ID}, {"gateway", s.Gateway}} {
		if !ValidName(f.value) {
			errs = append(errs, fmt.Errorf("%s: %q is not a name (a-z, 0-9 and - within, at most 63)", f.key, f.value))
		}
	}
	for i, n := range s.Networks {
		if !ValidName(n) {
			errs = append(errs, fmt.Errorf("networks[%d]: %q is not a name (a-z, 0-9 and - within, at most 63)", i, n))
		}
	}
	for _, f := range []struct {
		key, value string
		most       int
	}{{"name", s.Name, 200}, {"postcode", s.Postcode, 200}} {
		if len(f.value) > f.most || strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			errs = append(errs, fmt.Errorf("%s: over %d bytes, or not one line", f.key, f.most))
		}
	}
	if s.Name == "" {
		errs = append(errs, errors.New("name: it is empty"))
	}
	return errors.Join(errs...)
}

// checkSigners wants none, or two at least: one alone that is lost could never
// be replaced.
func checkSigners(lines []string) error {
	all, err := bundle.ParseSigners(lines)
	switch {
	case err != nil:
		return err
	case len(all) == 1:
		return errors.New("signers: one only, at least two are wanted")
	}
	for i, s := range all {
		if slices.ContainsFunc(all[:i], func(o bundle.Signer) bool { return o.Fingerprint() == s.Fingerprint() }) {
			return fmt.Errorf("signers[%d]: it is there twice", i)
		}
	}
	return nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL", text)
	case u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q is not https://HOST[:PORT]", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("%q has more than a host and a port", u.Redacted())
	}
	if p := u.Port(); p != "" {
		if _, err := net.LookupPort("tcp", p); err != nil {
			return fmt.Errorf("%q has no valid port", text)
		}
	}
	return nil
}

// parseCertificates reads a PEM of one or more certificates and nothing else.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := text; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			if len(bytes.TrimSpace(rest)) > 0 || len(all) == 0 {
				return nil, errors.New("it is not a PEM of certificates")
			}
			return all, nil
		}
		if b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it has a %q where only certificates belong", b.Type)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
}

// Text is the pack as its file, with the token and the secret in it.
func (p Pack) Text() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	body, err := toml.Marshal(packFile{
		Version: packVersion, Site: p.Site.ID, Name: p.Site.Name, Postcode: p.Site.Postcode,
		Gateway: p.Site.Gateway, Networks: append([]string{}, p.Site.Networks...), Collector: p.Collector,
		Expires: p.Expires.UTC().Truncate(time.Second), Token: p.Token.Reveal(), CA: p.CA,
		Secret: p.Secret.Reveal(), Signers: append([]string{}, p.Signers...),
	})
	if err != nil {
		return nil, fmt.Errorf("write the site pack: %w", err)
	}
	head := fmt.Sprintf("# Site pack of %s. On the gateway: sudo ginnel enrol FILE\n# Good once, until %s. Hand it over as you would a key.\n\n",
		p.Site.Gateway, p.Expires.UTC().Format("Mon 2 Jan 2006 15:04 MST"))
	if p.Token.IsZero() {
		head = fmt.Sprintf("# Site pack of %s, spent: its token and secret were used and are not in it any more.\n\n", p.Site.Gateway)
	}
	return append([]byte(head), body...), nil
}

// WritePack writes a pack to a new or existing file of mode 0600, atomically.
func WritePack(path string, p Pack) error {
	text, err := p.Text()
	if err != nil {
		return fmt.Errorf("write the site pack %s: %w", path, err)
	}
	if err := durable.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write the site pack: %w", err)
	}
	return nil
}

// SpendPack takes the token and the secret out of a pack's file.
func SpendPack(path string) error {
	p, err := ReadPack(path)
	if err != nil || p.Token.IsZero() {
		return err
	}
	p.Token, p.Secret = Token{}, Secret{}
	return WritePack(path, p)
}
