package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// enrolAs makes the place of this process an enrolled gateway of that name.
func enrolAs(t *testing.T, gateway string, signers []string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GINNEL_ROOT", t.TempDir())
	id, err := identity.Open(place().Identity())
	must(err)
	must(id.Prepare())
	asked, err := id.NewCSR()
	must(err)
	block, _ := pem.Decode(asked)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	must(err)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	urn, err := url.Parse(identity.InstanceURN + id.UID().String())
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: gateway}, NotBefore: now, NotAfter: now.Add(time.Hour), URIs: []*url.URL{urn},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, csr.PublicKey, caKey)
	must(err)
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	must(id.Adopt(identity.Pack{Site: identity.Site{ID: "avocet", Name: "Avocet Surgery", Gateway: gateway},
		Collector: []string{"https://collector.example.net"}, CA: string(caPEM), Signers: signers, Expires: now}, now))
	must(id.SaveCertificate(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER})))
}

// An enrolled gateway says whether it would accept a bundle.
func TestConfigCheckOfABundle(t *testing.T) {
	alice, bob, mallory := bundletest.New("alice"), bundletest.New("bob"), bundletest.New("mallory")
	signers := bundle.Signers{{Name: "alice", Key: alice.PublicKey()}, {Name: "bob", Key: bob.PublicKey()}}
	enrolAs(t, "avocet-1", signers.Lines())
	text := fmt.Sprintf("gateway = \"avocet-1\"\ngeneration = 15\nsigners = [%q, %q]\n", signers[0], signers[1])
	file := filepath.Join(t.TempDir(), "avocet-1.bundle")
	check := func(text string, by bundletest.Operator) (string, error) {
		b, err := bundle.Sign([]byte(text), bundle.Config, by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = configCheck(context.Background(), cli.IO{Out: &out}, []string{file})
		return out.String(), err
	}
	if out, err := check(text, bob); err != nil || !strings.HasSuffix(out, " (bob): accepted here.\n") {
		t.Errorf("bob's: %q, %v", out, err)
	}
	if _, err := check(text, mallory); err == nil || !strings.Contains(err.Error(), "a key that is not accepted here: SHA256:") {
		t.Errorf("mallory's: %v", err)
	}
	if _, err := check(strings.Replace(text, "avocet", "bittern", 1), bob); err == nil || !strings.Contains(err.Error(), "it is for another gateway: bittern-1") {
		t.Errorf("another gateway's: %v", err)
	}
}

// TestConfigOfTheCentre: without a file, the commands are about the config that
// runs, wherever it is from.
func TestConfigOfTheCentre(t *testing.T) {
	alice := bundletest.New("alice")
	signers := bundle.Signers{{Name: "alice", Key: alice.PublicKey()}, {Name: "bob", Key: bundletest.New("bob").PublicKey()}}
	enrolAs(t, "avocet-1", signers.Lines())
	text := fmt.Sprintf("gateway = \"avocet-1\"\ngeneration = 15\nsigners = [%q, %q]\n", signers[0], signers[1])
	var out, said bytes.Buffer
	std := cli.IO{Out: &out, Err: &said}
	if err := configShow(t.Context(), std, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before a config: %v", err)
	}
	b, err := bundle.Sign([]byte(text), bundle.Config, alice)
	if err != nil {
		t.Fatal(err)
	}
	believed, err := trusted(place())
	if err != nil {
		t.Fatal(err)
	}
	offer, err := believed.Judge(b.Bytes(), "avocet-1")
	if err == nil {
		err = believed.Accept(offer)
	}
	if err == nil {
		err = os.WriteFile(place().LastGood(), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	const from = "generation 15, of the centre"
	if err := configShow(t.Context(), std, nil); err != nil || said.String() != from+"\n" || !strings.Contains(out.String(), "avocet-1") {
		t.Errorf("show: %v, %q, %q", err, &said, &out)
	}
	out.Reset()
	if err := configCheck(t.Context(), std, nil); err != nil || !strings.HasPrefix(out.String(), from+": good. ") {
		t.Errorf("check: %v, %q", err, &out)
	}
}
