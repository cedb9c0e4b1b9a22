package fleet

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
)

// What the centre says of manners, and what it switches off, reaches every
// gateway; so do the keys of a check.
func TestMannersReachEveryGateway(t *testing.T) {
	text := readAll("testdata/county/fleet.toml") + `
beside   = "same"
network  = "kestrel"
unstable = 40

[manners]
national      = ["*.national.example.net"]
target_budget = 600
metered       = ["wwan0"]

[[off]]
kind   = "http"
reason = "asked by the supplier"
`
	f := load(t, with(t, map[string]string{"fleet.toml": text}))
	want := checks.Manners{National: []string{"*.national.example.net"}, TargetBudget: 600, Metered: []string{"wwan0"},
		Off: []checks.Off{{Kind: "http", Reason: "asked by the supplier"}}}
	for _, g := range f.gateways {
		d, err := f.Compile(g.Name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(g.Name, d.Text(7))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c.Manners, want) {
			t.Errorf("%s: %+v", g.Name, c.Manners)
		}
		for _, k := range c.Checks {
			if k.Name == "archive" && (k.Beside != k.Target || k.Unstable != 40) {
				t.Errorf("%s: %+v", g.Name, k)
			}
		}
	}
}

// An ill-mannered check is told once, where it is written.
func TestIllMannersAreToldAtTheCheck(t *testing.T) {
	text := strings.Replace(readAll("testdata/county/fleet.toml"), `"203.0.113.40:443"`, `"portal.nhs.uk:443"`, 1)
	_, err := Load(with(t, map[string]string{"fleet.toml": text}))
	if err == nil || strings.Count(err.Error(), "too often for a national service") != 1 || !strings.HasPrefix(err.Error(), "fleet.toml:") {
		t.Errorf("got %v", err)
	}
}

// Checks of udp that together ask a hub for more than it answers are told once for
// all sites, at the last of them.
func TestTooManyPacketsAreToldAtTheCheck(t *testing.T) {
	text := readAll("testdata/county/fleet.toml")
	for _, name := range []string{"voice", "calls", "video"} {
		text += "\n[[check]]\nname = \"" + name + "\"\nkind = \"udp\"\nnetwork = \"kestrel\"\ntarget = \"100.64.0.1\"\ninterval = \"1s\"\noptions = { count = 100 }\n"
	}
	dir := with(t, map[string]string{"fleet.toml": text})
	_, err := load(t, dir).CompileAll()
	at := strings.Count(text[:strings.LastIndex(text, "interval =")], "\n") + 1
	want := fmt.Sprintf("fleet.toml:%d:12: check[5].interval: voice, calls, video ask 100.64.0.1 for 300\n    packets a second together; a hub answers a gateway 200\n    hint: interval = \"2s\" for each, a smaller count, or fewer checks", at)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
