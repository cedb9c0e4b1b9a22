package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

func TestReceiptIsOfOneTrialAndOneCA(t *testing.T) {
	key, ca := authority(t)
	_, other := authority(t)
	good := Receipt{Hash: "ab12", Nonce: "cd34"}
	sum := sha256.Sum256(good.Text("avocet-1"))
	var err error
	if good.Signature, err = ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil {
		t.Fatal(err)
	}
	if err := good.Verify("avocet-1", append(other, ca...)); err != nil {
		t.Errorf("a good one: %v", err)
	}
	change := func(f func(*Receipt)) Receipt { r := good; f(&r); return r }
	for name, c := range map[string]struct {
		r       Receipt
		gateway string
		ca      []byte
	}{
		"another hash":    {change(func(r *Receipt) { r.Hash = "ab13" }), "avocet-1", ca},
		"another nonce":   {change(func(r *Receipt) { r.Nonce = "" }), "avocet-1", ca},
		"unsigned":        {change(func(r *Receipt) { r.Signature = nil }), "avocet-1", ca},
		"another gateway": {good, "bittern-1", ca},
		"another CA":      {good, "avocet-1", other},
		"no CA":           {good, "avocet-1", nil},
	} {
		if c.r.Verify(c.gateway, c.ca) == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

func authority(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
