package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// noTrace is the tag without which gRPC brings its debug pages along, whose templates
// keep the linker from leaving out what nobody calls.
const noTrace = "-tags grpcnotrace"

var goBuild = regexp.MustCompile(`\bgo build\b`)

// builds are the lines of a script or Makefile that build programs of ours.
func builds(text string) (found []string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		tool := strings.Contains(line, " -C .tools ") || strings.Contains(line, "-modfile=.tools/")
		if goBuild.MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "#") && !tool {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// TestProgramsAreBuiltWithoutGRPCsPages: make, the packages and CI's own build do
// it alike.
func TestProgramsAreBuiltWithoutGRPCsPages(t *testing.T) {
	var in []string
	for _, file := range lines(t, "git", "-C", "../../..", "ls-files") {
		if ext := filepath.Ext(file); ext == ".go" || ext == ".md" || ext == ".txtar" {
			continue // tests build for themselves, people by make
		}
		text, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			continue // a link, or deleted and not committed
		}
		for _, line := range builds(string(text)) {
			in = append(in, file)
			if !strings.Contains(line, noTrace+" ") {
				t.Errorf("%s builds without %s: %s", file, noTrace, line)
			}
		}
	}
	for _, want := range []string{"Makefile", "packaging/build.sh", ".ci/wrong-clock"} {
		if !slices.Contains(in, want) {
			t.Errorf("%s builds nothing that this test sees", want)
		}
	}
}

// TestTheTagStillWorks: gRPC knows it, and nothing else brings the pages back.
func TestTheTagStillWorks(t *testing.T) {
	const pages = "golang.org/x/net/trace"
	deps := func(more ...string) []string {
		return lines(t, "go", append(append([]string{"list", "-C", "../../..", "-deps"}, more...), "./cmd/ginnel", "./cmd/ginnel-check-clinical")...)
	}
	if slices.Contains(deps(strings.Fields(noTrace)...), pages) {
		t.Errorf("%s does not keep %s out", noTrace, pages)
	}
	if !slices.Contains(deps(), pages) {
		t.Errorf("nothing brings %s any more: the tag can go", pages)
	}
}
