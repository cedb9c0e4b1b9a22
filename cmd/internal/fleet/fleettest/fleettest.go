// Package fleettest makes fleets of any size, for tests and rehearsals.
package fleettest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Two networks and two hubs; every site is in kestrel, every third one in heron
// as well, and every fiftieth is acute and has two gateways.
const toml = `
[organisation]
kestrel = "Kestrel Practices (invented)"
heron   = "Heron Hospitals (invented)"

[network.kestrel]
organisation = "kestrel"
overlay      = "100.64.0.0/12"
hubs         = ["hub-north", "hub-south"]

[[network.kestrel.allow]]
from  = "sites"
to    = "198.51.100.0/24"
ports = ["tcp/443", "udp/53"]

[network.heron]
organisation = "heron"
overlay      = "100.96.0.0/12"
hubs         = ["hub-south", "hub-north"]

[hub.hub-north]
endpoints = { kestrel = ["hub-north.example.net:51820"], heron = ["hub-north.example.net:51821"] }
lan       = { kestrel = ["198.51.100.0/24"], heron = ["203.0.113.0/24"] }

[hub.hub-south]
endpoints = { kestrel = ["hub-south.example.net:51821"], heron = ["hub-south.example.net:51820"] }
lan       = { kestrel = ["198.51.100.0/24"], heron = ["203.0.113.0/24"] }

[[check]]
name    = "records"
where   = { kind = "gp" }
network = "kestrel"
kind    = "tcp"
target  = "198.51.100.20:443"

[[check]]
name    = "results"
network = "heron"
kind    = "tcp"
target  = "203.0.113.40:443"
`

// Signers are public keys of nobody.
var Signers = []string{
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM1r1Iume4RmrB553JxAXqzL9g36d3aYaB01efQBFY0j alice",
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPz8Lm1e/9ffkuMHaSEn18/AUHo3iIm5N7swGHO0QEQT bob",
}

// Write makes a fleet of so many sites in dir, with all keys, and gives the
// proofs of them, as a collector would.
func Write(dir string, sites int, signers []string) ([]centre.Keys, error) {
	var proofs []centre.Keys
	prove := func(b *strings.Builder, gateway string, networks ...string) error {
		p, err := writeKeys(b, gateway, networks)
		proofs = append(proofs, centre.Keys{Gateway: gateway, Proofs: []identity.Proof{p}, Arrived: []time.Time{time.Now()}})
		return err
	}
	var rows, attached, keys strings.Builder
	rows.WriteString("site,name,kind,ods,postcode,circuit,care_level,gateways,ring,open,telephone\n")
	attached.WriteString("site,network,lan,as\n")
	keys.WriteString("gateway,network,public_key,fingerprint,first_seen\n")
	for _, h := range []string{"hub-north", "hub-south"} {
		if err := prove(&keys, h, "kestrel", "heron"); err != nil {
			return nil, err
		}
	}
	for i := range sites {
		id, kind, gateways := fmt.Sprintf("site-%05d", i), "gp", 1
		if i%50 == 0 {
			kind, gateways = "acute", 2
		}
		fmt.Fprintf(&rows, "%s,Surgery %d,%s,T%05d,,FTTC-%05d,2,%d,,gp-core,+44 20 7946 0%03d\n", id, i, kind, i%100000, i, gateways, i%1000)
		in := []string{"kestrel"}
		if i%3 == 0 {
			in = append(in, "heron")
		}
		for n, network := range in {
			lan, as := fmt.Sprintf("192.168.%d.0/24", i%250), ""
			if i >= 250 { // the same LANs again, known by others
				as = fmt.Sprintf("100.%d.%d.0/26", 70+32*n+(i/1024), i/4%256)
				as = strings.Replace(as, ".0/26", fmt.Sprintf(".%d/26", i%4*64), 1)
				lan = fmt.Sprintf("192.168.%d.0/26", i%250)
			}
			fmt.Fprintf(&attached, "%s,%s,%s,%s\n", id, network, lan, as)
		}
		for g := range gateways {
			if err := prove(&keys, fmt.Sprintf("%s-%d", id, g+1), in...); err != nil {
				return nil, err
			}
		}
	}
	for name, text := range map[string]string{"fleet.toml": "signers = " + config.Literal(signers) + "\n" + toml, "sites.csv": rows.String(), "attachments.csv": attached.String(), "keys.csv": keys.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return proofs, nil
}

// writeKeys writes a gateway's rows of keys.csv, and proves them by a device key.
// Nobody has the other half of any of them.
func writeKeys(b *strings.Builder, gateway string, networks []string) (identity.Proof, error) {
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity.Proof{}, err
	}
	pkix, err := x509.MarshalPKIXPublicKey(device.Public())
	if err != nil {
		return identity.Proof{}, err
	}
	row := func(network string, raw []byte) {
		fmt.Fprintf(b, "%s,%s,%s,%s,2026-11-20\n", gateway, network, base64.StdEncoding.EncodeToString(raw), identity.Fingerprint(raw))
	}
	row("-", pkix)
	st := identity.Statement{Gateway: gateway, UID: gateway, Device: pkix, Number: 1, Keys: map[string]key.Public{}, At: time.Now()}
	for _, n := range networks {
		k := sha256.Sum256([]byte(gateway + " " + n))
		k[31] &= 0x7f // as curve 25519 has it
		row(n, k[:])
		if st.Keys[n], err = key.ParsePublic(base64.StdEncoding.EncodeToString(k[:])); err != nil {
			return identity.Proof{}, err
		}
	}
	text, err := json.Marshal(st)
	if err != nil {
		return identity.Proof{}, err
	}
	sum := sha256.Sum256(append([]byte("ginnel proof 1\n"), text...))
	signature, err := ecdsa.SignASN1(rand.Reader, device, sum[:])
	return identity.Proof{Text: text, Signature: signature}, err
}
