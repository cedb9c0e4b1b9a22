package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/keychain"
	"github.com/ginnel/ginnel/tunnels/key"
)

// BenchmarkPlan plans for 10,000 sites that run what the files said before a
// check was added for half of them: the files, the states and the proofs are
// read and verified, every config is compiled, 5,000 are compared. The aim is
// 20 s at most.
func BenchmarkPlan(b *testing.B) {
	const sites = 10000
	bigBench(b, sites)
	for b.Loop() {
		start := time.Now()
		var o, e bytes.Buffer
		code := run(b.Context(), []string{"plan"}, cli.IO{In: strings.NewReader(""), Out: &o, Err: &e})
		if code != 2 || !strings.Contains(o.String(), "  + check records-tls on kestrel                        5000  ") {
			b.Fatalf("exit %d\n%s%s", code, o.String(), e.String())
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/plan")
	}
}

// bigBench is a bench where all of many sites run what the files say.
func bigBench(b *testing.B, sites int) {
	d := newDesk(b)
	d.toml = strings.Replace(d.toml, "100.64.0.0/18", "100.64.0.0/16", 1)
	var rows, attachments strings.Builder
	rows.WriteString("site,name,kind\n")
	attachments.WriteString("site,network,lan,as\n")
	for i := range sites {
		kind := "gp"
		if i%2 == 1 {
			kind = "pharmacy"
		}
		fmt.Fprintf(&rows, "s%05d,Site %d,%s\n", i, i, kind)
		// 192.168/16 has no room for so many: 198.18/15 is for tests.
		fmt.Fprintf(&attachments, "s%05d,kestrel,198.%d.%d.%d/28,\n", i, 18+i>>12, i>>4&255, i&15*16)
	}
	d.write("sites.csv", rows.String())
	d.write("attachments.csv", attachments.String())
	d.write("fleet.toml", d.toml)
	f, err := fleet.Load(d.dir)
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(d.key)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := ssh.ParsePrivateKey(text)
	if err != nil {
		b.Fatal(err)
	}
	folder := b.TempDir()
	for i, g := range f.Gateways() {
		id, err := identity.Open(fmt.Sprintf("%s/%d", folder, i))
		if err != nil {
			b.Fatal(err)
		}
		if err := id.Prepare(); err != nil {
			b.Fatal(err)
		}
		p, err := id.Prove(g.Name, map[string]key.Public{"kestrel": key.NewPrivate().Public()}, identity.NewSecret())
		if err != nil {
			b.Fatal(err)
		}
		st, err := p.Stated()
		if err != nil {
			b.Fatal(err)
		}
		for _, k := range keychain.Merge(nil, st, time.Now()).New {
			f.SetKey(k)
		}
		d.proofs[g.Name] = []identity.Proof{p}
		d.said[g.Name] = &centre.GatewayState{Name: g.Name, Site: g.Site, Enrolled: time.Now(), LastSeen: time.Now()}
	}
	if err := f.Save(); err != nil {
		b.Fatal(err)
	}
	for _, g := range f.Gateways() {
		c, err := f.Compile(g.Name)
		if err != nil {
			b.Fatal(err)
		}
		signed, err := bundle.Sign(c.Text(1), bundle.Config, raw)
		if err != nil {
			b.Fatal(err)
		}
		s := d.said[g.Name]
		d.bundles[signed.Hash()] = signed.Bytes()
		s.Running = centre.ConfigRef{Generation: 1, Hash: signed.Hash()}
		s.Desired, s.Mark, s.State = s.Running, 1, block.ConfigApplied
	}
	d.write("fleet.toml", d.toml+strings.Replace(newCheck, "network", "where   = { kind = [\"gp\"] }\nnetwork", 1))
	b.Chdir(d.dir)
}
