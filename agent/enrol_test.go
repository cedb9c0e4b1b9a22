package agent_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/local"
)

// The pack of another gateway is refused in the list, with what to look at, and
// nothing is made.
func TestPackOfAnotherGateway(t *testing.T) {
	r := start(t, t.TempDir(), site)
	var steps []local.Progress
	err := r.agent.Enrol(t.Context(), []byte(otherPack), func(p local.Progress) { steps = append(steps, p) })
	var said *local.Error
	if !errors.As(err, &said) || !strings.Contains(said.Hint(), "ginnel status") {
		t.Errorf("enrol = %v, want an answer with a hint", err)
	}
	if len(steps) != 1 || steps[0].OK || steps[0].Text != `the site pack is for gateway "bittern-1", but this one is "avocet-1"` {
		t.Errorf("steps %+v", steps)
	}
	if s := r.agent.Snapshot(); s.Site != "" {
		t.Errorf("the gateway is of site %q now", s.Site)
	}
}

const otherPack = `version = 2
site = 'bittern'
name = 'Bittern Practice'
postcode = 'ZZ1 1AA'
gateway = 'bittern-1'
networks = ['kestrel']
collector = ['https://192.0.2.10:8443']
expires = 2026-01-06T16:28:27Z
token = 'P567-MASF-U5HY-ZBPW-RGZZ-Z54X-BEQM-HBQJ-6XJQ-NBTR-C5NU-R73X-ITXQ'
secret = 'Q567-MASF-U5HY-ZBPW-RGZZ-Z54X-BEQM-HBQJ-6XJQ-NBTR-C5NU-R73X-ITXQ'
signers = []
ca = """
-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIQZKyZW/au5vpUmMN8TsknpDAKBggqhkjOPQQDAjAdMRsw
GQYDVQQDExJHaW5uZWwgQ0EgNjRhYzk5NWIwHhcNMjYxMTIwMTYyODI2WhcNNDYx
MTE3MTYyODI2WjAdMRswGQYDVQQDExJHaW5uZWwgQ0EgNjRhYzk5NWIwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAQbeKM27fTjt3i7UMHnsXxemgFKJVDxdZWHft1r
m/hwfsuhiSL8buOD2K/BOsG1GXuVV4eS6waT1KZc+AUuIwLso0UwQzAOBgNVHQ8B
Af8EBAMCAQYwEgYDVR0TAQH/BAgwBgEB/wIBADAdBgNVHQ4EFgQU3YY6BaZ/hoSe
hIIZUAv7/lGOSwAwCgYIKoZIzj0EAwIDSAAwRQIgBQG799GfBSIhWoRa0TVL91Ob
Bp+Cx0gaVYvK8RlsXcMCIQCoKrKlkeBt6qBw0DjWGr2s9gtS7R6oLpSjXoJC5Aks
AA==
-----END CERTIFICATE-----
"""
`
