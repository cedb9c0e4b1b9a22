package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// operatorCertificate is one file with key and certificate, as `ginnel-collector
// operator add` makes it.
func operatorCertificate(t *testing.T, organisation string) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{{Scheme: "urn", Opaque: "ginnel:operator:kim"},
		{Scheme: "urn", Opaque: "ginnel:organisation:" + organisation}}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kim.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestScopedOperator: of 390 sites one organisation's operator sees, plans and
// pushes its own, and leaves what a shared hub carries for others as it is.
func TestScopedOperator(t *testing.T) {
	b := newDesk(t)
	b.toml = strings.Replace(strings.Replace(b.toml, "[organisation]\n", "[organisation]\nheron = \"Heron Hospitals (invented)\"\n", 1),
		`endpoints.kestrel = ["192.0.2.10:51820"]`, `endpoints.kestrel = ["192.0.2.10:51820"]
endpoints.heron   = ["192.0.2.10:51821"]`, 1)
	b.toml = strings.Replace(b.toml, `kestrel = ["198.51.100.0/24"] }`, `kestrel = ["198.51.100.0/24"], heron = ["203.0.113.0/24"] }`, 1)
	b.write("fleet.toml", b.toml+"\n[network.heron]\norganisation = \"heron\"\noverlay = \"100.64.64.0/18\"\nhubs = [\"hub-north\"]\n")
	sites, attachments := "site,name,kind\n", "site,network,lan,as\n"
	for i := range 390 {
		network := "heron"
		if i < 5 {
			network = "kestrel"
		}
		sites += fmt.Sprintf("s%03d,Site %d,gp\n", i, i)
		attachments += fmt.Sprintf("s%03d,%s,192.168.%d.%d/28,\n", i, network, i>>4, i&15*16)
	}
	b.write("sites.csv", sites)
	b.write("attachments.csv", attachments)
	b.enrolIn("hub-north", "kestrel", "heron")
	for i := range 390 {
		network := "heron"
		if i < 5 {
			network = "kestrel"
		}
		b.enrolIn(fmt.Sprintf("s%03d-1", i), network)
	}
	b.want(0, []string{"Push to 391 gateways"}, "push", "--yes", "--sign-with", b.key)

	all, proofs := b.said, b.proofs
	hidden := func(name string) bool { return name != "hub-north" && name > "s005" }
	b.said, b.proofs = mapsWithout(all, hidden), mapsWithout(proofs, hidden)
	kim := operatorCertificate(t, "kestrel")
	b.want(0, []string{"compared with what 6 gateways at 5 sites run now", "  0 change    6 stay    385 not yours\n"}, "plan", "--cert", kim)
	b.write("fleet.toml", b.read("fleet.toml")+newCheck)
	b.want(0, []string{"Push to 5 gateways"}, "push", "--yes", "--sign-with", b.key, "--cert", kim)
	last := b.pushed[len(b.pushed)-1]
	if len(last.Organisations) != 1 || slices.ContainsFunc(last.Pushes, func(p centre.Push) bool { return hidden(p.Gateway) || p.Gateway == "hub-north" }) {
		t.Errorf("pushed to %d, organisations %v", len(last.Pushes), last.Organisations)
	}
	// A change for another's network on the shared hub is left to them.
	b.write("attachments.csv", strings.Replace(attachments, "s300,heron,", "s300,heron,192.168.200.0/24,\ns300,heron,", 1))
	b.want(1, []string{"refused    hub-north: it would also change heron, which is not yours"}, "plan", "--cert", kim)
}

func mapsWithout[V any](m map[string]V, hidden func(string) bool) map[string]V {
	left := map[string]V{}
	for k, v := range m {
		if !hidden(k) {
			left[k] = v
		}
	}
	return left
}
