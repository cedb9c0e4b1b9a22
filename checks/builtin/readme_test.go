package builtin

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/checks"
)

var update = flag.Bool("update", false, "write the kinds into checks/README.md")

// TestREADME holds the list of kinds in checks/README.md to their schemas.
func TestREADME(t *testing.T) {
	const file, begin, end = "../README.md", "<!-- kinds: begin -->\n", "<!-- kinds: end -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	now, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s is without the marks of the list", file)
	}
	want := listKinds()
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if now != want {
		t.Errorf("the list of kinds in %s is not that of the schemas; run this test with -update. Want:\n%s", file, want)
	}
}

func listKinds() string {
	registry, err := checks.NewRegistry(Kinds(func(string, string) (Handshake, error) { return Handshake{}, nil })...)
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	for _, k := range registry.Kinds() {
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n", k.Name, strings.ToUpper(k.Doc[:1])+k.Doc[1:])
		if len(k.Schema) == 0 {
			b.WriteString("No options.\n\n")
			continue
		}
		b.WriteString("| option | type | default | what |\n|---|---|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(k.Schema)) {
			o := k.Schema[name]
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, o.Takes(), defaultOf(o), o.Doc)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func defaultOf(o checks.Option) string {
	if o.Default == nil {
		return "-"
	}
	return fmt.Sprintf("`%v`", o.Default)
}
