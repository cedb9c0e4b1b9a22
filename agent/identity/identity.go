package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ginnel/ginnel/agent/internal/durable"
)

// DefaultDir is where a gateway keeps its identity.
const DefaultDir = "/var/lib/ginnel/identity"

// The files in the directory.
const (
	keyFile         = "device.key"      // PKCS#8 PEM, 0600
	uidFile         = "instance"        // UUIDv7, made with the key
	certificateFile = "certificate.pem" // chain, leaf first
	recordFile      = "enrolment.toml"  // collector, CA, site
)

// Identity is a gateway's identity directory. It is safe for concurrent use
// and cannot be printed.
type Identity struct {
	dir     string
	damaged error // of Salvage

	mu     sync.RWMutex // guards the following
	key    *ecdsa.PrivateKey
	uid    uuid.UUID
	chain  []*x509.Certificate // leaf first; empty: none
	record record
	proofs proofs

	// from and until are the dates of a certificate of the collector that our
	// clock calls invalid; zero: there was none.
	from, until time.Time
}

// Open reads the identity in dir. It writes nothing: a directory that is not
// there, or is empty, is an identity that is not enrolled.
func Open(dir string) (*Identity, error) {
	i := &Identity{dir: dir}
	for _, read := range []func() error{i.readKey, i.readUID, i.readRecord, i.readCertificate, i.readProofs} {
		if err := read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("open the identity: %w", err)
		}
	}
	return i, nil
}

// Salvage is an identity that Open cannot read, for the reason why: what it says of
// the site, as far as that can be read. It is not enrolled, and writes nothing.
func Salvage(dir string, why error) *Identity {
	i := &Identity{dir: dir, damaged: why}
	_ = i.readRecord() // why says what is wrong with it
	return i
}

// Dir is the directory.
func (i *Identity) Dir() string { return i.dir }

// Enrolled says whether there is all that a session with the collector takes:
// key, certificate and where the collector is. An expired certificate counts.
func (i *Identity) Enrolled() bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.enrolled()
}

func (i *Identity) enrolled() bool {
	return i.key != nil && len(i.chain) > 0 && len(i.record.Collector) > 0
}

// UID is the instance uid, 16 bytes; zero before Prepare.
func (i *Identity) UID() uuid.UUID {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.uid
}

// Site is where the gateway stands; zero before it is enrolled.
func (i *Identity) Site() Site {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.record.site()
}

// Collector is the URLs of the collector in order of preference.
func (i *Identity) Collector() []string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.record.Collector
}

// Signers are those of the site pack, whose configs are taken until a config
// names others; empty: nobody's.
func (i *Identity) Signers() []string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.record.Signers
}

// CA is the PEM of the collector's CA; empty before it is enrolled.
func (i *Identity) CA() string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.record.CA
}

// Prepare makes the device key and the instance uid where they are missing.
// They are durable when it returns.
func (i *Identity) Prepare() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.damaged != nil {
		return i.damaged
	}
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return fmt.Errorf("make the identity directory: %w", err)
	}
	if i.key == nil {
		if err := i.makeKey(); err != nil {
			return fmt.Errorf("make the device key: %w", err)
		}
	}
	if i.uid == uuid.Nil {
		if err := i.makeUID(); err != nil {
			return fmt.Errorf("make the instance uid: %w", err)
		}
	}
	return durable.SyncDir(filepath.Dir(i.dir))
}

// Adopt records the site and collector of a pack, as the last but one step of
// enrolment: the certificate follows by SaveCertificate. A gateway that is
// enrolled already may adopt a new pack of its own name only.
func (i *Identity) Adopt(p Pack, now time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.mayAdopt(p); err != nil {
		return err
	}
	r := recordOf(p, now)
	text, err := r.text()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(i.path(recordFile), text, 0o600); err != nil {
		return fmt.Errorf("record the enrolment: %w", err)
	}
	i.record = r
	return nil
}

// MayAdopt says whether Adopt would refuse the pack.
func (i *Identity) MayAdopt(p Pack) error {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.mayAdopt(p)
}

func (i *Identity) mayAdopt(p Pack) error {
	if i.damaged != nil {
		return i.damaged
	}
	if i.enrolled() && i.record.Gateway != p.Site.Gateway {
		return fault(fmt.Errorf("this host is enrolled as %s already, the pack is for %s", i.record.Gateway, p.Site.Gateway),
			"to give the host to another site, uninstall first: ginnel service uninstall")
	}
	return nil
}

// Certificate is the gateway's own certificate; nil before it is enrolled.
func (i *Identity) Certificate() *x509.Certificate {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if len(i.chain) == 0 {
		return nil
	}
	return i.chain[0]
}

// RenewAt is when two thirds of the certificate's life are over; zero without
// a certificate.
func (i *Identity) RenewAt() time.Time {
	c := i.Certificate()
	if c == nil {
		return time.Time{}
	}
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3)
}

// TLSConfig is for sessions with the collector as this gateway. The collector
// must be certified by the CA of the site pack, or by one of extraCA (PEM, may
// be empty). A renewed certificate is used from the next connection on.
func (i *Identity) TLSConfig(extraCA []byte) (*tls.Config, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !i.enrolled() {
		return nil, fault(ErrNotEnrolled, "ginnel enrol PACK")
	}
	c, err := trust(i.record.CA, extraCA)
	if err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.present(), nil }
	c.Time = i.now
	return c, nil
}

// TLSConfig is for the enrolment session, which shows no certificate.
func (p Pack) TLSConfig(extraCA []byte) (*tls.Config, error) { return trust(p.CA, extraCA) }

func trust(ca string, extra []byte) (*tls.Config, error) {
	pool := x509.NewCertPool()
	own, err := parseCertificates([]byte(ca))
	if err != nil {
		return nil, fmt.Errorf("the collector's CA: %w", err)
	}
	for _, c := range own {
		pool.AddCert(c)
	}
	if len(extra) > 0 {
		more, err := parseCertificates(extra)
		if err != nil {
			return nil, fault(fmt.Errorf("extra CA: %w", err), "extra_ca in /etc/ginnel/ginnel.toml names a PEM file")
		}
		for _, c := range more {
			pool.AddCert(c)
		}
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// present is the certificate as TLS wants it.
func (i *Identity) present() *tls.Certificate {
	i.mu.RLock()
	defer i.mu.RUnlock()
	c := &tls.Certificate{PrivateKey: i.key, Leaf: i.chain[0]}
	for _, one := range i.chain {
		c.Certificate = append(c.Certificate, one.Raw)
	}
	return c
}

// now is the clock for judging the collector's certificate. A board without a
// battery starts in 1970; it cannot be earlier than the gateway's own
// certificate was made. Where a certificate of the pack's CA says otherwise, it
// is believed: see Doubt.
func (i *Identity) now() time.Time {
	i.mu.RLock()
	defer i.mu.RUnlock()
	now := time.Now()
	if len(i.chain) > 0 && now.Before(i.chain[0].NotBefore) {
		now = i.chain[0].NotBefore
	}
	if !i.from.IsZero() && (now.Before(i.from) || now.After(i.until)) {
		now = i.from.Add(i.until.Sub(i.from) / 2)
	}
	return now
}

// Doubt says whether to try again after a handshake that failed: the collector's
// certificate is of the CA of the site pack, and only our clock calls it
// invalid. A gateway whose clock is off by years must still be found by the
// centre, and whoever has the CA's key can date certificates as they like.
func (i *Identity) Doubt(err error) bool {
	shown, ok := errors.AsType[*tls.CertificateVerificationError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || !isInvalid || invalid.Reason != x509.Expired || len(shown.UnverifiedCertificates) == 0 {
		return false
	}
	leaf := shown.UnverifiedCertificates[0]
	i.mu.Lock()
	defer i.mu.Unlock()
	own, err := parseCertificates([]byte(i.record.CA))
	if err != nil || i.from.Equal(leaf.NotBefore) && i.until.Equal(leaf.NotAfter) {
		return false // the same again: it is not the date
	}
	for _, ca := range own {
		if leaf.CheckSignatureFrom(ca) == nil {
			i.from, i.until = leaf.NotBefore, leaf.NotAfter
			return true
		}
	}
	return false
}

func (i *Identity) path(name string) string { return filepath.Join(i.dir, name) }

func (i *Identity) Format(f fmt.State, verb rune) { io.WriteString(f, "(identity)") }
func (i *Identity) LogValue() slog.Value          { return slog.StringValue(i.Site().Gateway) }
