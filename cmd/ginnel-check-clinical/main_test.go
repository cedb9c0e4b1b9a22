package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/plugin"
)

// TestMain makes the test's own program the plugin when an agent starts it.
func TestMain(m *testing.M) {
	if os.Getenv("GINNEL_CHECK_PLUGIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestOffered loads both kinds as an agent does, and runs a check of each
// through the plugin's process.
func TestOffered(t *testing.T) {
	kinds := offered(t, "Imaging, Avocet Surgery: letter of 2026-11-02", "dicom", "fhir")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	address := closed.Addr().String()
	for name, target := range map[string]checks.Target{
		"dicom": {Address: address, Timeout: 20 * time.Second, Options: map[string]any{"called": "PACS"}},
		"fhir":  {Address: "http://" + address + "/r4", Timeout: 20 * time.Second},
	} {
		i := slices.IndexFunc(kinds, func(k checks.Kind) bool { return k.Name == name })
		if i < 0 {
			t.Fatalf("no kind %s", name)
		}
		check, err := kinds[i].Make(target)
		if err != nil {
			t.Fatal(err)
		}
		if r := check.Run(t.Context()); r.Verdict != checks.Failed || r.Reason != checks.Refused || r.Phase != checks.PhaseConnect {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestWithoutAgreement: nothing is asked of anybody.
func TestWithoutAgreement(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	check, err := offered(t, "", "dicom")[0].Make(checks.Target{Address: l.Addr().String(), Timeout: time.Second, Options: map[string]any{"called": "PACS"}})
	if err == nil {
		r := check.Run(t.Context())
		if r.Verdict != checks.Unknown || r.Reason != checks.NotRun || r.Sent != 0 {
			t.Errorf("ran: %+v", r)
		}
		err = errors.New(r.Detail)
	}
	if !strings.Contains(err.Error(), "agreement") {
		t.Errorf("it says %v", err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(200 * time.Millisecond))
	if c, err := l.Accept(); err == nil {
		c.Close()
		t.Error("it has connected")
	}
}

func offered(t *testing.T, agreement string, names ...string) []checks.Kind {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "ginnel-check-clinical")
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		offer := fmt.Sprintf("kind = %q\npath = %q\nsha256 = \"%x\"\nagreement = %q\n", name, program, sha256.Sum256(text), agreement)
		if err := os.WriteFile(filepath.Join(dir, name+".toml"), []byte(offer), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kinds, err := plugin.Load(t.Context(), dir, plugin.Options{Owner: uint32(os.Getuid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, k := range kinds {
			k.Close()
		}
	})
	return kinds
}
