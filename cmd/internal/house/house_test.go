package house_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ginnel/ginnel/"

// top is what may stand at the top level besides dot files.
var top = []string{
	"cmd", "agent", "tunnels", "checks", "packaging", "go.mod", "go.sum", "Makefile", "README.md",
	"LICENSE", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md",
}

func TestTopLevelIsAsTheOwnerFixedIt(t *testing.T) {
	for _, file := range lines(t, "git", "-C", "../../..", "ls-files") {
		first, _, _ := strings.Cut(file, "/")
		if !strings.HasPrefix(first, ".") && !slices.Contains(top, first) {
			t.Errorf("%s: nothing but %s may stand at the top level", file, strings.Join(top, " "))
		}
	}
}

// A wall says what a set of packages may not import, directly or through
// others, and why.
type wall struct {
	from   string   // regular expression of import paths, below the module
	except string   // of those, the ones it does not hold for
	never  string   // regular expression of forbidden import paths
	may    []string // of those, what is allowed all the same
	direct bool     // only direct imports count
	why    string
}

// shared is the part of the site side that the centre may know.
var shared = []string{
	"agent/config", "agent/identity", "agent/block", "agent/run", "agent/wire", "agent/prom", "agent/internal/durable",
	"tunnels", "tunnels/key", "checks", "checks/hist",
}

var walls = []wall{
	{from: `^tunnels`, never: `^` + module + `(agent|checks|cmd|packaging)`,
		why: "tunnels knows neither checks nor the agent"},
	{from: `^checks`, never: `^` + module + `(agent|tunnels|cmd|packaging)`,
		why: "checks knows neither tunnels nor the agent"},
	{from: `^agent`, never: `^` + module + `(cmd|packaging)`,
		why: "cmd imports agent, not the other way round"},
	{from: `^tunnels$`, never: `\.`, may: []string{"tunnels/key"},
		why: "the plan has no operating system in it: standard library and tunnels/key only"},
	{from: `^checks$`, never: `\.`, may: []string{"checks/hist"},
		why: "standard library and checks/hist only"},
	{from: `^(tunnels/key|checks/hist)$`, never: `\.`,
		why: "a leaf: standard library only"},
	{from: `^cmd/(ginnel-collector|ginnelctl|internal)`, never: `^` + module + `(agent|tunnels|checks|packaging)`, may: shared,
		why: "the centre speaks of plans and results without netlink or gRPC"},
	{from: `^cmd/(ginnel-collector|ginnelctl|internal)`, never: `vishvananda/netlink|wgctrl|hashicorp/go-plugin|google/nftables`,
		why: "nothing of the host belongs at the centre"},
	{from: `^(agent|tunnels|checks|cmd|packaging)`, except: `^agent/service$`, never: `^github.com/kardianos/service$`, direct: true,
		why: "agent/service is the only file set that knows kardianos/service"},
	{from: `^(agent|tunnels|checks|cmd|packaging)`, except: `^cmd/ginnel-lab|test$`, never: `^` + module + `.*/(bundletest|fleettest)$`,
		why: "operators and fleets that are made up are for tests and rehearsals"},
	{from: `^(agent|tunnels|checks|cmd|packaging)`, except: `^(cmd/ginnel|packaging)`, never: `^` + module + `packaging`, direct: true,
		why: "packaging is imported by cmd/ginnel only"},
	{from: `^(agent|tunnels|checks|cmd)`, except: `^(checks/plugin|tunnels/wireguard$|tunnels/internal/nstest$|cmd/ginnel-lab|agent/service$|cmd/internal/signing$)`, never: `^os/exec$`, direct: true,
		why: "programs are started by checks/plugin, the Launcher, the service adapter, the lab and, at a desk, " +
			"by cmd/internal/signing only: ssh-keygen alone can speak to a FIDO token; tests start what they like"},
}

func TestImportsRunOneWay(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, w := range walls {
			if !regexp.MustCompile(w.from).MatchString(name) ||
				w.except != "" && regexp.MustCompile(w.except).MatchString(name) {
				continue
			}
			for _, dep := range w.broken(name, p) {
				t.Errorf("%s imports %s: %s", name, dep, w.why)
			}
		}
	}
}

func (w wall) broken(name string, p pkg) []string {
	deps := p.Deps
	if w.direct {
		deps = p.Imports
	}
	never := regexp.MustCompile(w.never)
	var found []string
	for _, dep := range deps {
		ours := strings.TrimPrefix(dep, module)
		std := !strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") || strings.HasPrefix(dep, "vendor/")
		switch {
		case !never.MatchString(dep), w.never == `\.` && std:
		case ours != dep && (w.allows(ours) || within(ours, name)):
		default:
			found = append(found, dep)
		}
	}
	return found
}

// allows reports whether a package of ours, or a folder that it is in, is named
// in may.
func (w wall) allows(ours string) bool {
	return slices.ContainsFunc(w.may, func(m string) bool {
		return ours == m || slices.Contains([]string{"agent/block", "agent/config"}, m) && within(ours, m)
	})
}

func within(p, dir string) bool { return p != dir && strings.HasPrefix(p, dir+"/") }

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasSuffix(name, "/proto") {
			continue // generated
		}
		if p.Doc == "" {
			t.Errorf("%s has no package comment", name)
		}
		if want := "Package " + path.Base(name) + " "; p.Name != "main" && p.Doc != "" && !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: its comment begins with %.30q, want %q", name, p.Doc, want)
		}
	}
}

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath, Name, Doc string
	Imports, Deps         []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-C", "../../..", "-json=ImportPath,Name,Doc,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", stderr(err))
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) < 10 {
		t.Fatalf("go list found %d packages only", len(list))
	}
	return list
}

func lines(t *testing.T, name string, args ...string) []string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, stderr(err))
	}
	return strings.Fields(string(out))
}

func stderr(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return err.Error()
}
