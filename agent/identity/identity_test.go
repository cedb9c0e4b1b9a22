package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// ca signs what the tests need.
type ca struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newCA(t *testing.T) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{t: t, key: key, cert: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}}
	c.cert = c.sign(c.cert, &key.PublicKey)
	return c
}

func (c *ca) sign(what *x509.Certificate, key any) *x509.Certificate {
	c.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, what, c.cert, key, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

func (c *ca) text() string { return encode(c.cert) }

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// device is what a good collector would give; change spoils it.
func (c *ca) device(id *Identity, change func(*x509.Certificate)) string {
	c.t.Helper()
	text, err := id.NewCSR()
	if err != nil {
		c.t.Fatal(err)
	}
	b, _ := pem.Decode(text)
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "avocet-1"}, URIs: csr.URIs,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(89 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(cert)
	}
	return encode(c.sign(cert, csr.PublicKey))
}

// adopted is an identity with key and pack, and no certificate yet.
func adopted(t *testing.T, c *ca) *Identity {
	t.Helper()
	id, err := Open(filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	p := avocet(t)
	p.CA = c.text()
	if err := errors.Join(id.Prepare(), id.Adopt(p, time.Now())); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOpenWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "identity")
	id, err := Open(dir)
	if err != nil || id.Enrolled() || id.UID() != uuid.Nil || !id.RenewAt().IsZero() || id.Certificate() != nil {
		t.Fatalf("an identity that is not there: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
	if _, err := id.TLSConfig(nil); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("TLS without an identity: %v", err)
	}
	if _, err := id.NewCSR(); err == nil {
		t.Error("a request without a key")
	}
}

func TestLifeOfAnIdentity(t *testing.T) {
	c := newCA(t)
	id := adopted(t, c)
	if id.Enrolled() {
		t.Error("enrolled without a certificate")
	}
	if err := id.SaveCertificate([]byte(c.device(id, nil))); err != nil {
		t.Fatal(err)
	}
	uid, leaf := id.UID(), id.Certificate()
	if uid.Version() != 7 || InstanceOf(leaf) != uid.String() {
		t.Errorf("uid %s of version %d, certificate for %q", uid, uid.Version(), InstanceOf(leaf))
	}
	if got, want := id.RenewAt(), leaf.NotBefore.Add(60*time.Hour); !got.Equal(want) {
		t.Errorf("renewal at %v, want %v", got, want)
	}
	again, err := Open(id.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Prepare(); err != nil { // makes nothing that is there
		t.Fatal(err)
	}
	if !again.Enrolled() || again.UID() != uid || !again.Certificate().Equal(leaf) || again.Site().Name != "Avocet \"Surgery\"" || len(again.Collector()) != 2 {
		t.Errorf("opened again it is another: %v", again.Site())
	}
	list, err := os.ReadDir(id.Dir())
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, f := range list {
		if st, err := f.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", f.Name(), st.Mode(), err)
		}
	}
	other := avocet(t)
	other.Site.Gateway = "bittern-1"
	if err := id.MayAdopt(other); err == nil || id.Adopt(other, time.Now()) == nil {
		t.Error("an enrolled host was given away")
	}
}

// A certificate that is not wholly ours does not replace the one we have.
func TestCertificatesOfOthersAreRefused(t *testing.T) {
	c, foreign := newCA(t), newCA(t)
	id, other := adopted(t, c), adopted(t, c)
	if err := id.SaveCertificate([]byte(c.device(id, nil))); err != nil {
		t.Fatal(err)
	}
	before := id.Certificate()
	uri := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "it is not a PEM of certificates"},
		{"another key", c.device(other, nil), "it is not for our device key"},
		{"another instance", c.device(id, func(x *x509.Certificate) { x.URIs = uri(InstanceURN + uuid.NewString()) }), "it is for instance"},
		{"two instances", c.device(id, func(x *x509.Certificate) { x.URIs = append(x.URIs, uri(InstanceURN+"x")...) }), `it is for instance ""`},
		{"another gateway", c.device(id, func(x *x509.Certificate) { x.Subject.CommonName = "bittern-1" }), `it is for gateway "bittern-1", we are "avocet-1"`},
		{"another CA", foreign.device(id, nil), "certificate signed by unknown authority"},
		{"a server's", c.device(id, func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "incompatible key usage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := id.SaveCertificate([]byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if again, err := Open(id.Dir()); err != nil || !again.Certificate().Equal(before) || !id.Certificate().Equal(before) {
				t.Errorf("the certificate changed: %v", err)
			}
		})
	}
	// Our own clock, which may be wrong, does not judge it.
	old := c.device(id, func(x *x509.Certificate) {
		x.NotBefore, x.NotAfter = time.Now().Add(-900*time.Hour), time.Now().Add(-800*time.Hour)
	})
	if err := id.SaveCertificate([]byte(old)); err != nil || !id.Enrolled() {
		t.Errorf("one that our clock calls expired: %v", err)
	}
}

// A clock before our own certificate's first hour is wrong, and is not used.
func TestClockHasAFloor(t *testing.T) {
	c := newCA(t)
	id := adopted(t, c)
	ahead := time.Now().Add(500 * time.Hour).Truncate(time.Second)
	text := c.device(id, func(x *x509.Certificate) { x.NotBefore, x.NotAfter = ahead, ahead.Add(time.Hour) })
	if err := id.SaveCertificate([]byte(text)); err != nil {
		t.Fatal(err)
	}
	conf, err := id.TLSConfig(nil)
	if err != nil || !conf.Time().Equal(ahead) {
		t.Errorf("the clock is at %v, %v; want %v", conf.Time(), err, ahead)
	}
	if _, err := id.TLSConfig([]byte("nonsense")); err == nil || !strings.Contains(err.Error(), "extra CA") {
		t.Errorf("an extra CA that is none: %v", err)
	}
}

// What somebody broke on disk is said with its path, and never overwritten.
func TestBrokenFiles(t *testing.T) {
	c := newCA(t)
	for _, tt := range []struct {
		file, text string
		mode       os.FileMode
		want       string
	}{
		{keyFile, "", 0o644, "mode 0644, others may read it"},
		{keyFile, "nonsense", 0o600, "it is not a PKCS#8 PEM"},
		{uidFile, "nonsense", 0o600, "it is not a UUID"},
		{recordFile, "colour = 'red'", 0o600, "it cannot be read"},
		{recordFile, "site = 'avocet'", 0o600, "is not a name"},
		{certificateFile, "nonsense", 0o600, "it is not a PEM of certificates"},
		{certificateFile, c.text(), 0o600, "it does not belong to the device key"},
	} {
		id := adopted(t, c)
		if err := id.SaveCertificate([]byte(c.device(id, nil))); err != nil {
			t.Fatal(err)
		}
		path := id.path(tt.file)
		if tt.text != "" {
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(id.Dir())
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.file, err, tt.want)
		}
	}
}
