package main

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest/ingesttest"
)

func TestOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "collector.toml")
	write := func(text string) { must(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("url = \"https://collector.example.net\"\nlisten-pages = \"127.0.0.1:1\"\nheartbeat = \"10s\"\nname = [\"a.example.net\"]\nlog-level = \"debug\"\n")
	o, err := parseOptions([]string{"--pages", "127.0.0.1:2", "--config=" + file, "--name", "192.0.2.9"})
	must(t, err)
	if o.URL != "https://collector.example.net" || o.Pages != "127.0.0.1:2" || o.Heartbeat != 10*time.Second || o.Level != slog.LevelDebug ||
		o.Names.String() != "a.example.net,192.0.2.9" || o.Data != defaultData || o.PagesFD != -1 {
		t.Errorf("%+v", o)
	}
	for text, want := range map[string]string{
		"url = \"x\"\nurll = 1\n": "collector.toml:2:1: urll: unknown key",
		"\nlog-level = \"loud\"":  "collector.toml:2:",
		"url = [":                 "collector.toml:1:",
	} {
		write(text)
		if _, err := parseOptions([]string{"--config", file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"", "--url must be given"},
		{"--url http://collector.example.net", "--url"},
		{"--url https://collector.example.net/x", "--url"},
		{"--url https://c --heartbeat 10", "--heartbeat"},
		{"--url https://c --heartbeat 2h", "--heartbeat"},
		{"--url https://c --pages-cert x", "go together"},
		{"--url https://c extra", "takes no arguments"},
		{"--url https://c --log-level loud", "log-level"},
		{"--config /nowhere/x.toml", "read config"},
	} {
		if _, err := parseOptions(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	none := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"report avocet --data " + none, 1, "no store at"},
		{"backup x --data " + none, 1, "no store at"},
		{"report", 2, "takes 1 argument"},
		{"serve --url x", 2, "usage: ginnel-collector serve"},
		{"bogus", 2, "unknown command"},
		{"version", 0, "ginnel-collector 0."},
	} {
		if got := command(t, c.code, strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q", c.args, got, c.want)
		}
	}
	if entries, err := os.ReadDir(none); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func dup(f *os.File) (string, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return strconv.Itoa(fd), err
}

// ingesttestCA makes an authority for operators, and files of it and of a
// server in dir.
func ingesttestCA(t *testing.T, dir string) *ingesttest.CA {
	ca := ingesttest.NewCA(t)
	server := ca.Server(t)
	key, err := x509.MarshalECPrivateKey(server.PrivateKey.(*ecdsa.PrivateKey))
	must(t, err)
	for name, block := range map[string]pem.Block{
		"ca.crt":     {Type: "CERTIFICATE", Bytes: ca.Cert.Raw},
		"server.crt": {Type: "CERTIFICATE", Bytes: server.Certificate[0]},
		"server.key": {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&block), 0o600))
	}
	return ca
}
