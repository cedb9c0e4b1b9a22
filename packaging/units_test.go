package packaging_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/packaging"
)

func TestUnitsNameOurPrograms(t *testing.T) {
	for name, want := range map[string][]string{
		"ginnel.service":            {"ExecStart=/opt/a run\n", "ExecReload=/opt/a reload\n"},
		"ginnel-guard.service":      {"ExecStart=/opt/a guard\n"},
		"ginnel-dataplane@.service": {"ExecStart=/opt/d\n", "Slice=ginnel-dataplane.slice\n"},
		"ginnel-dataplane.slice":    {"MemoryMax=60%\n"},
		"ginnel-dataplane.socket":   {"ListenStream=/run/ginnel/dataplane.sock\n"},
		"ginnel-check@.service":     {"ExecStart=/opt/a check instance\n", "DynamicUser=yes\n", "CapabilityBoundingSet=\n", "MemoryMax=", "Slice=ginnel-check.slice\n"},
		"ginnel-check.socket":       {"ListenStream=/run/ginnel/check.sock\n", "SocketGroup=ginnel\n", "SocketMode=0660\n"},
		"ginnel.sysusers":           {"g ginnel-admin"},
		"ginnel.tmpfiles":           {"d /run/wireguard 0770 root ginnel"},
	} {
		text := packaging.Unit(name, "/opt/a", "/opt/d")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s has no %q", name, w)
			}
		}
		if strings.Contains(text, packaging.Agent+" ") || strings.Contains(text, packaging.Dataplane) {
			t.Errorf("%s names a program of the package", name)
		}
	}
}

// Every file of systemd/ is in a package: one that is forgotten would be missed
// on site only.
func TestPackagesHoldAllUnits(t *testing.T) {
	var all strings.Builder
	for _, name := range []string{"ginnel", "ginnel-collector", "ginnelctl"} {
		text, err := os.ReadFile("nfpm/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	units, err := os.ReadDir("systemd")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if !strings.Contains(all.String(), "src: packaging/systemd/"+u.Name()+",") {
			t.Errorf("no package holds %s", u.Name())
		}
	}
}
